// Compresses a stream with a codec that the host can undo; the same input gives the same bytes.
import { spawn } from 'node:child_process'
import { Readable, type Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { VarveError, messageOf } from '../errors.ts'
import { zstdCompressor } from './zstd.ts'

export type Codec = 'zstd' | 'xz' | 'gzip' | 'none'

/** `bytes` is about how much will come. Throws E_TOOL where xz is wanted and not installed. */
export function compress(chunks: AsyncIterable<Uint8Array>, codec: Codec, bytes: number): AsyncIterable<Uint8Array> {
  switch (codec) {
    case 'none':
      return chunks
    case 'zstd':
      return through(chunks, zstdCompressor(bytes))
    case 'gzip':
      return through(chunks, createGzip({ level: 9 }))
    case 'xz':
      return xz(chunks)
  }
}

async function* through(chunks: AsyncIterable<Uint8Array>, transform: Duplex): AsyncGenerator<Uint8Array> {
  const done = pipeline(Readable.from(chunks, { objectMode: false, highWaterMark: 1 << 20 }), transform)
  done.catch(() => {}) // the reader below meets the same error
  yield* transform as AsyncIterable<Uint8Array>
  await done
}

async function* xz(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const child = spawn('xz', ['-6', '-T1', '-c'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exit = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(
        new VarveError('E_TOOL', `cannot compress the delta: xz: ${messageOf(cause)}`, {
          hint: 'apt-get install xz-utils',
          cause,
        }),
      ),
    )
    child.once('close', resolve)
  })
  const fed = pipeline(Readable.from(chunks, { objectMode: false }), child.stdin)
  const failed = Promise.allSettled([exit, fed])
  yield* child.stdout as AsyncIterable<Uint8Array>
  const [ended, written] = await failed
  if (ended.status === 'rejected') throw ended.reason
  if (written.status === 'rejected') throw written.reason
  if (ended.value !== 0) throw new VarveError('E_IO', `cannot compress the delta: xz ended with status ${ended.value}`)
}

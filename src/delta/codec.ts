// Compresses a stream piece by piece, several at once, each with the tool that makes the whole arrive soonest.
import { spawn, spawnSync } from 'node:child_process'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { VarveError, messageOf } from '../errors.ts'
import { pieceOf, type Codec, type Pace, type Tool } from './effort.ts'
import type { Pool } from './pool.ts'

export type Piece = { readonly codec: Codec; readonly bytes: Uint8Array }

export type Packing = {
  /** What the host can undo. */
  readonly codecs: readonly Codec[]
  readonly pace: Pace
  readonly pool: Pool
  /** See Pace. */
  readonly thrifty?: boolean
}

/** What is compressed: about how many bytes, and whether x86 programs are among them. */
export type Stream = { readonly chunks: AsyncIterable<Uint8Array>; readonly bytes: number; readonly programs: boolean }

/** Pieces of one codec behind one another are one stream to its tool. The same input and tools give the same bytes. */
export async function* compress(stream: Stream, packing: Packing | undefined): AsyncGenerator<Piece> {
  for await (const piece of pieces(stream, packing)) {
    const since = performance.now()
    yield piece
    packing?.pace.taken?.(performance.now() - since)
  }
}

async function* pieces({ chunks, bytes, programs }: Stream, packing: Packing | undefined): AsyncGenerator<Piece> {
  const codecs = packing?.codecs.filter((codec) => codec !== 'xz' || xzIsHere()) ?? []
  if (packing === undefined || codecs.length === 0) {
    for await (const chunk of chunks) yield { codec: 'none', bytes: chunk }
    return
  }
  // made ahead of the link, which may have enough for long in one piece and nothing for long in the next ones
  const begun = Readable.from(begin({ chunks, bytes, programs }, { ...packing, codecs }), {
    highWaterMark: packing.pool.cores + 2,
  }) as AsyncIterable<Begun>
  for await (const { piece } of begun) yield await piece
}

type Begun = { readonly piece: Promise<Piece> }

/** Begins a piece as soon as no other one waits for a thread. */
async function* begin({ chunks, bytes, programs }: Stream, packing: Packing): AsyncGenerator<Begun> {
  const { pace, pool, codecs, thrifty } = packing
  const running = new Set<Promise<unknown>>()
  let count = 0
  let tool = pace.tool(bytes, codecs, thrifty)
  // what is thrifty waits for a larger first piece, in which more is found
  const most = (): number => pieceOf(tool, thrifty === true ? count + 1 : count)
  const next = (piece: Buffer, last: boolean): Begun => {
    const since = performance.now()
    const { length } = piece // a thread takes it away
    const by = tool
    const alone = last && count === 0 ? codecs : undefined
    const done = packPiece(piece, { tool, programs, pool, alone })
    const told = async (): Promise<void> => {
      await done
      const milliseconds = performance.now() - since
      const shared = Math.max(1, running.size / pool.cores)
      if (milliseconds >= TELLING_MS) pace.made?.(by, (length * shared * 1000) / milliseconds)
    }
    const ended: Promise<unknown> = told()
      .catch(() => {}) // who takes it is told
      .finally(() => running.delete(ended))
    running.add(ended)
    count++
    return { piece: done }
  }
  let parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + most() - size)
      at += part.length
      size += part.length
      // a chunk may be overwritten by the next
      parts.push(Uint8Array.from(part))
      if (size < most()) break
      yield next(Buffer.concat(parts), false)
      parts = []
      size = 0
      while (running.size > pool.cores) await Promise.race(running)
      tool = pace.tool(bytes, codecs, thrifty)
    }
  }
  if (size > 0) yield next(Buffer.concat(parts), true)
}

/** What takes so long tells how fast a tool is here; less may be the start of a thread. */
const TELLING_MS = 500

/** What is so small is compressed by each of the strong tools, where one of them was chosen; but to start xz takes 30 ms. */
const BOTH = 1 << 20
const TINY = 16 << 10

type How = {
  readonly tool: Tool
  readonly programs: boolean
  readonly pool: Pool
  /** What else there is, for a piece that is all there is. */
  readonly alone: readonly Codec[] | undefined
}

async function packPiece(bytes: Buffer, { tool, programs, pool, alone }: How): Promise<Piece> {
  const strong = tool.codec === 'xz' || tool.level > 9
  if (strong && alone?.includes('xz') === true && alone.includes('zstd') && bytes.length <= BOTH) {
    if (bytes.length <= TINY) return { codec: 'zstd', bytes: await pool.run({ kind: 'compress', bytes, level: 19 }) }
    const both = await Promise.all([
      xz(bytes, { level: 9, programs }),
      pool.run({ kind: 'compress', bytes: Uint8Array.from(bytes), level: 19 }),
    ])
    return both[0].length < both[1].length ? { codec: 'xz', bytes: both[0] } : { codec: 'zstd', bytes: both[1] }
  }
  switch (tool.codec) {
    case 'none':
      return { codec: 'none', bytes }
    case 'zstd':
      return { codec: 'zstd', bytes: await pool.run({ kind: 'compress', bytes, level: tool.level }) }
    case 'gzip':
      return { codec: 'gzip', bytes: await promisify(gzip)(bytes, { level: tool.level }) }
    case 'xz':
      return { codec: 'xz', bytes: await xz(bytes, { level: tool.level, programs }) }
  }
}

let here: boolean | undefined

function xzIsHere(): boolean {
  return (here ??= spawnSync('xz', ['--version'], { stdio: 'ignore' }).status === 0)
}

/** The filter makes the targets of x86 calls absolute, so that they are found again: https://tukaani.org/xz/xz-file-format.txt, 5.3.2. */
async function xz(bytes: Uint8Array, { level, programs }: { level: number; programs: boolean }): Promise<Buffer> {
  const filters = [...(programs ? ['--x86'] : []), `--lzma2=preset=${level}${level > 6 ? 'e' : ''},dict=16MiB`]
  const child = spawn('xz', ['-T1', '--check=crc32', ...filters, '-c'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const parts: Buffer[] = []
  child.stdout.on('data', (part: Buffer) => parts.push(part))
  child.stdin.on('error', () => {}) // its status says why
  child.stdin.end(bytes)
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(new VarveError('E_TOOL', `cannot compress the delta: xz: ${messageOf(cause)}`, { hint: 'apt-get install xz-utils', cause }))) // prettier-ignore
    child.once('close', resolve)
  })
  if (status !== 0) throw new VarveError('E_IO', `cannot compress the delta: xz ended with status ${status}`)
  return Buffer.concat(parts)
}

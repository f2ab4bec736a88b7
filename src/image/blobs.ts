// Reads what is named by its digest: small texts at once, layers as a stream that fails where it is not what was named.
import { createHash } from 'node:crypto'
import { VarveError, hasCode, type ErrorCode } from '../errors.ts'
import { openDecompressed, type Limits } from '../tar/decompress.ts'
import type { TarWarning } from '../tar/read.ts'
import type { Digest } from './manifest.ts'

type Chunks = AsyncIterable<Uint8Array>

/** Bytes as their place gives them, of which nothing is known but what was said of them. */
export type Blob = { readonly digest: Digest | undefined; readonly size: number; readonly bytes: () => Chunks }

export const MANIFEST_LIMIT = { bytes: 4 * 1024 ** 2, code: 'E_JSON' } as const
export const CONFIG_LIMIT = { bytes: 8 * 1024 ** 2, code: 'E_LIMIT' } as const

/** All of a manifest or a config. Throws E_DIGEST, or the limit's own code. */
export async function readText(
  blob: Blob,
  what: string,
  limit: { readonly bytes: number; readonly code: ErrorCode },
): Promise<Buffer> {
  if (blob.size > limit.bytes) throw tooLarge(what, limit)
  const chunks: Uint8Array[] = []
  for await (const chunk of checked(blob, what)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Bytes of unknown length and digest, up to a limit. */
export async function readBounded(
  bytes: Chunks,
  what: string,
  limit: { readonly bytes: number; readonly code: ErrorCode },
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.length
    if (size > limit.bytes) throw tooLarge(what, limit)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The blob's bytes as they are. Throws E_DIGEST at the end, or as soon as there are too many. */
async function* checked({ digest, size, bytes }: Blob, what: string): AsyncGenerator<Uint8Array> {
  const hash = digest === undefined ? undefined : createHash('sha256')
  let read = 0
  for await (const chunk of bytes()) {
    read += chunk.length
    if (read > size) throw mismatch(what, `it has more than the ${size} bytes that it should have`)
    hash?.update(chunk)
    yield chunk
  }
  if (read !== size) throw mismatch(what, `it has ${read} bytes and should have ${size}`)
  if (hash !== undefined) mustBe(digest, hash.digest('hex'), what)
}

export type LayerReading = {
  readonly diffId: Digest
  /** For messages. */
  readonly what: string
  readonly onWarning: (warning: TarWarning) => void
  readonly limits?: Limits
}

/**
 * The uncompressed archive of a layer. It ends only where both digests are right, and throws E_DIGEST before its end
 * where one is not: who has read to the end may trust what was read. Throws also the codes of openDecompressed.
 */
export async function* openLayer(blob: Blob, reading: LayerReading): AsyncGenerator<Uint8Array> {
  const { diffId, what, onWarning, limits } = reading
  const raw = checked(blob, what)
  try {
    const { compression, chunks } = await openDecompressed(borrowed(raw), {
      onWarning,
      archive: what,
      ...(limits === undefined ? {} : { limits }),
    })
    // what is not compressed and has the digest of its contents for its own is hashed once
    const hash = compression === 'none' && blob.digest === diffId ? undefined : createHash('sha256')
    for await (const chunk of chunks) {
      hash?.update(chunk)
      yield chunk
    }
    await readToEnd(raw)
    if (hash !== undefined) mustBe(diffId, hash.digest('hex'), `${what}, uncompressed`)
  } catch (error) {
    // what is damaged because it is not what was named is called so
    if (hasCode(error, 'E_COMPRESSION')) await readToEnd(raw)
    throw error
  } finally {
    await raw.return(undefined)
  }
}

async function readToEnd(chunks: AsyncGenerator<Uint8Array>): Promise<void> {
  for (let next = await chunks.next(); next.done !== true;) next = await chunks.next()
}

/** The same bytes for a reader that may stop before their end, while they go on. */
function borrowed(chunks: AsyncIterator<Uint8Array>): Chunks {
  return { [Symbol.asyncIterator]: () => ({ next: () => chunks.next() }) }
}

function mustBe(expected: Digest | undefined, actual: string, what: string): void {
  if (expected !== `sha256:${actual}`)
    throw mismatch(what, `its SHA-256 is ${actual}, and should be ${expected?.slice(7)}`)
}

function mismatch(what: string, why: string): VarveError {
  return new VarveError('E_DIGEST', `cannot use ${what}: ${why}`, { hint: 'copy or pull the image again' })
}

function tooLarge(what: string, limit: { readonly bytes: number; readonly code: ErrorCode }): VarveError {
  return new VarveError(limit.code, `cannot read ${what}: it is larger than ${limit.bytes} bytes`)
}

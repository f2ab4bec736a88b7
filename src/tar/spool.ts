// Keeps the bytes of an unpacked archive in a file without a name, and reads any file's contents out of it.
import { randomUUID } from 'node:crypto'
import { readSync } from 'node:fs'
import { open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls, printable, type ByteString } from '../model/bytes.ts'
import type { TarContents } from './merge.ts'
import { expandSparse } from './sparse.ts'

export const PIECE = 1024 * 1024

type Reading = {
  readonly path: ByteString
  readonly archive: string
  /** Throws where the archive is not what it was. */
  readonly check: () => void
}

/** Made without a name as soon as it is there, so that nothing is left behind whatever happens. */
export async function openSpool(directory: string): Promise<FileHandle> {
  const path = join(directory, `varve-spool-${randomUUID()}`)
  try {
    const handle = await open(path, 'wx+', 0o600)
    await unlink(path)
    return handle
  } catch (cause) {
    throw cannotSpool(directory, cause)
  }
}

/** Passes the chunks on once they are kept. */
export async function* spooled(
  chunks: AsyncIterable<Uint8Array>,
  spool: FileHandle,
  directory: string,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    await keep(chunk, spool, { directory })
    yield chunk
  }
}

/** Writes behind what was written last, or at `position`. Throws E_NOSPACE, E_IO. */
export async function keep(
  chunk: Uint8Array,
  spool: FileHandle,
  { directory, position }: { readonly directory: string; readonly position?: number },
): Promise<void> {
  try {
    for (let written = 0; written < chunk.length;) {
      const at = position === undefined ? null : position + written
      written += (await spool.write(chunk, written, chunk.length - written, at)).bytesWritten
    }
  } catch (cause) {
    throw cannotSpool(directory, cause)
  }
}

/** A file's bytes, in pieces. Throws E_SOURCE_CHANGED. */
export async function* readContents(
  handle: FileHandle,
  contents: ReadonlyMap<ByteString, TarContents>,
  reading: Reading,
): AsyncGenerator<Uint8Array> {
  const where = locate(contents, reading.path)
  const read = (offset: number, length: number): AsyncIterable<Uint8Array> =>
    readRange(handle, { offset: where.offset + offset, length }, reading)
  yield* where.sparse === undefined ? read(0, where.size) : expandSparse(where.sparse, read)
  reading.check()
}

export async function* readRange(
  handle: FileHandle,
  range: { readonly offset: number; readonly length: number },
  { archive }: Pick<Reading, 'archive'>,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < range.length;) {
    const buffer = Buffer.allocUnsafe(Math.min(PIECE, range.length - done))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, range.offset + done)
    if (bytesRead === 0) throw changed(archive)
    done += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** All of a file's bytes at once. Throws E_SOURCE_CHANGED. */
export function readAtOnce(
  handle: FileHandle,
  contents: ReadonlyMap<ByteString, TarContents>,
  { path, archive, check }: Reading,
): Uint8Array {
  const where = locate(contents, path)
  const bytes = Buffer.alloc(where.size)
  let offset = where.offset
  for (const segment of where.sparse?.segments ?? [{ offset: 0, length: where.size }])
    for (let done = 0; done < segment.length;) {
      const bytesRead = readSync(handle.fd, bytes, segment.offset + done, segment.length - done, offset)
      if (bytesRead === 0) throw changed(archive)
      done += bytesRead
      offset += bytesRead
    }
  check()
  return bytes
}

function locate(contents: ReadonlyMap<ByteString, TarContents>, path: ByteString): TarContents {
  const found = contents.get(path)
  if (found === undefined)
    throw new VarveError('E_BUG', `cannot read "${printable(path)}": it is no file of the archive`)
  return found
}

export function changed(archive: string): VarveError {
  return new VarveError('E_SOURCE_CHANGED', `cannot read ${archive}: it changed while it was read`, {
    hint: 'wait until it is written, and run the command again',
  })
}

function cannotSpool(directory: string, cause: unknown): VarveError {
  const code = (cause as NodeJS.ErrnoException).code === 'ENOSPC' ? 'E_NOSPACE' : 'E_IO'
  return new VarveError(
    code,
    `cannot keep the unpacked archive in "${escapeControls(directory)}": ${escapeControls(messageOf(cause))}`,
    {
      hint: 'name a directory with more space by --state-dir',
      cause,
    },
  )
}

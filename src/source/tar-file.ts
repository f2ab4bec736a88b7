// Opens a tar, plain or compressed, from a file or from standard input, and keeps its contents within reach.
import { randomUUID } from 'node:crypto'
import { fstatSync, readSync, type BigIntStats } from 'node:fs'
import { open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls, printable, type ByteString } from '../model/bytes.ts'
import type { Tree } from '../model/tree.ts'
import type { TarWarning } from '../tar/read.ts'
import { expandSparse } from '../tar/sparse.ts'
import { openDecompressed, type Limits } from '../tar/decompress.ts'
import type { TarContents } from '../tar/merge.ts'
import { readTarTree } from '../tar/tree.ts'

export type TarFileOptions = {
  readonly stdin: Readable
  /** Where the bytes of what cannot be read twice are kept, in a file without a name. */
  readonly spoolDirectory: string
  readonly onWarning: (warning: TarWarning) => void
  /** Bytes of the uncompressed archive so far. */
  readonly onProgress?: (bytes: number) => void
  readonly limits?: Limits
}

export type TarFile = AsyncDisposable & {
  readonly tree: Tree
  /** A file's bytes, in pieces. Throws E_SOURCE_CHANGED. */
  readonly contents: (path: ByteString) => AsyncIterable<Uint8Array>
  /** All of a file's bytes at once. Throws E_SOURCE_CHANGED. */
  readonly readSmall: (path: ByteString) => Uint8Array
}

const PIECE = 1024 * 1024

/** `location` is a path, or `-` for standard input. Throws E_SOURCE, E_SOURCE_CHANGED, E_IO and the codes of readTarTree. */
export async function openTarFile(location: string, options: TarFileOptions): Promise<TarFile> {
  const archive = location === '-' ? 'standard input' : `"${escapeControls(location)}"`
  const handles: FileHandle[] = []
  const close = async (): Promise<void> => {
    for (const handle of handles.splice(0)) await handle.close()
  }
  try {
    const file = location === '-' ? undefined : await openFile(location, { archive, handles })
    const input = file === undefined ? named(options.stdin, archive) : pieces(file.handle, archive)
    const { compression, chunks } = await openDecompressed(input, { ...options, archive })
    const again = file?.stats.isFile() === true && compression === 'none' ? file : undefined
    const kept = again?.handle ?? (await openSpool(options.spoolDirectory, handles))
    const { tree, contents, warnings } = await readTarTree(
      told(again === undefined ? spooled(chunks, kept, options.spoolDirectory) : chunks, options.onProgress),
      { archive, ...(options.limits === undefined ? {} : { limits: options.limits }) },
    )
    if (file !== undefined) mustBeUnchanged(file, archive)
    for (const warning of warnings) options.onWarning(warning)
    const check = (): void => {
      if (again !== undefined) mustBeUnchanged(again, archive)
    }
    return {
      tree,
      contents: (path) => readContents(kept, locate(contents, path), { archive, check }),
      readSmall: (path) => readAtOnce(kept, locate(contents, path), { archive, check }),
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

type Opened = { readonly handle: FileHandle; readonly stats: BigIntStats }
type Reading = { readonly archive: string; readonly check: () => void }

async function openFile(location: string, into: { archive: string; handles: FileHandle[] }): Promise<Opened> {
  let opened: Opened
  try {
    const handle = await open(location, 'r')
    into.handles.push(handle)
    opened = { handle, stats: await handle.stat({ bigint: true }) }
  } catch (cause) {
    throw unreadable(into.archive, cause)
  }
  if (opened.stats.isDirectory())
    throw new VarveError('E_SOURCE', `cannot read ${into.archive}: it is a directory`, {
      hint: `name it as rootfs:${escapeControls(location)}`,
    })
  return opened
}

/** Made without a name as soon as it is there, so that nothing is left behind whatever happens. */
async function openSpool(directory: string, handles: FileHandle[]): Promise<FileHandle> {
  const path = join(directory, `varve-spool-${randomUUID()}`)
  try {
    const handle = await open(path, 'wx+', 0o600)
    handles.push(handle)
    await unlink(path)
    return handle
  } catch (cause) {
    throw cannotSpool(directory, cause)
  }
}

async function* spooled(
  chunks: AsyncIterable<Uint8Array>,
  spool: FileHandle,
  directory: string,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    try {
      for (let written = 0; written < chunk.length;) written += (await spool.write(chunk, written)).bytesWritten
    } catch (cause) {
      throw cannotSpool(directory, cause)
    }
    yield chunk
  }
}

async function* told(
  chunks: AsyncIterable<Uint8Array>,
  onProgress: TarFileOptions['onProgress'],
): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    onProgress?.(bytes)
    yield chunk
  }
}

async function* named(stdin: Readable, archive: string): AsyncGenerator<Uint8Array> {
  try {
    yield* stdin as AsyncIterable<Uint8Array>
  } catch (cause) {
    throw unreadable(archive, cause)
  }
}

/** From where the file stands, so that it may also be a pipe. */
async function* pieces(handle: FileHandle, archive: string): AsyncGenerator<Uint8Array> {
  for (;;) {
    const buffer = Buffer.allocUnsafe(PIECE)
    let bytesRead: number
    try {
      bytesRead = (await handle.read(buffer, 0, PIECE, null)).bytesRead
    } catch (cause) {
      throw unreadable(archive, cause)
    }
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

function locate(contents: ReadonlyMap<ByteString, TarContents>, path: ByteString): TarContents {
  const found = contents.get(path)
  if (found === undefined)
    throw new VarveError('E_BUG', `cannot read "${printable(path)}": it is no file of the archive`)
  return found
}

async function* readContents(handle: FileHandle, where: TarContents, reading: Reading): AsyncGenerator<Uint8Array> {
  const read = (offset: number, length: number): AsyncIterable<Uint8Array> =>
    readRange(handle, { offset: where.offset + offset, length }, reading)
  yield* where.sparse === undefined ? read(0, where.size) : expandSparse(where.sparse, read)
  reading.check()
}

async function* readRange(
  handle: FileHandle,
  range: { readonly offset: number; readonly length: number },
  { archive }: Reading,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < range.length;) {
    const buffer = Buffer.allocUnsafe(Math.min(PIECE, range.length - done))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, range.offset + done)
    if (bytesRead === 0) throw changed(archive)
    done += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

function readAtOnce(handle: FileHandle, where: TarContents, { archive, check }: Reading): Uint8Array {
  const contents = Buffer.alloc(where.size)
  let offset = where.offset
  for (const segment of where.sparse?.segments ?? [{ offset: 0, length: where.size }])
    for (let done = 0; done < segment.length;) {
      const bytesRead = readSync(handle.fd, contents, segment.offset + done, segment.length - done, offset)
      if (bytesRead === 0) throw changed(archive)
      done += bytesRead
      offset += bytesRead
    }
  check()
  return contents
}

function mustBeUnchanged({ handle, stats }: Opened, archive: string): void {
  if (!stats.isFile()) return
  const now = fstatSync(handle.fd, { bigint: true })
  if (now.size !== stats.size || now.mtimeNs !== stats.mtimeNs || now.ctimeNs !== stats.ctimeNs) throw changed(archive)
}

function changed(archive: string): VarveError {
  return new VarveError('E_SOURCE_CHANGED', `cannot read ${archive}: it changed while it was read`, {
    hint: 'wait until it is written, and run the command again',
  })
}

function unreadable(archive: string, cause: unknown): VarveError {
  const { code } = cause as NodeJS.ErrnoException
  const why =
    code === 'ENOENT'
      ? 'there is no such file'
      : code === 'EACCES'
        ? 'permission denied'
        : escapeControls(messageOf(cause))
  return new VarveError('E_SOURCE', `cannot read ${archive}: ${why}`, {
    hint: 'name a tar archive, e.g. tar:./rootfs.tar',
    cause,
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

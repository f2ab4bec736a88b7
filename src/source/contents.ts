// Reads one name of a directory, whatever bytes its path has: its stat facts, and contents that do not change meanwhile.
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type BigIntStats } from 'node:fs'
import { VarveError } from '../errors.ts'
import { byteString, printable, type ByteString } from '../model/bytes.ts'
import type { Entry } from '../model/entry.ts'

export const CHUNK = 1 << 20

/** What must still hold when contents are read again. */
export type FileTimes = { readonly size: number; readonly mtimeNs: bigint; readonly ctimeNs: bigint }

/** What lstat(2) said, without what is not asked: a hundred thousand of them are held at once. */
export type Stat = {
  readonly kind: Entry['kind'] | 'socket'
  readonly dev: number
  readonly ino: bigint
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly rdev: bigint
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

export function lstat(path: ByteString): Stat {
  const stats = lstatSync(onDisk(path), { bigint: true })
  return {
    kind: kindOf(stats),
    dev: Number(stats.dev),
    ino: stats.ino,
    mode: Number(stats.mode & 0o7777n),
    nlink: Number(stats.nlink),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    rdev: stats.rdev,
    size: Number(stats.size),
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
  }
}

function kindOf(stats: BigIntStats): Stat['kind'] {
  if (stats.isFile()) return 'file'
  if (stats.isDirectory()) return 'directory'
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isFIFO()) return 'fifo'
  if (stats.isSocket()) return 'socket'
  return stats.isBlockDevice() ? 'block' : 'char'
}

/** Linux's encoding: major in bits 8-19 and 32-63, minor in bits 0-7 and 20-31 (makedev(3)). */
export function deviceNumbers(rdev: bigint): { major: number; minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  }
}

/** Yields a file's bytes in chunks of at most 1 MiB; each is valid until the next is asked for. Throws E_SOURCE_CHANGED. */
export function* readContents(
  root: ByteString,
  path: ByteString,
  expected: FileTimes,
  buffer: Buffer = Buffer.allocUnsafe(Math.min(CHUNK, expected.size + 1)),
): Generator<Buffer> {
  const handle = openSync(
    onDisk(join(root, path)),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY,
  )
  try {
    let total = 0
    for (let read = readSync(handle, buffer); read > 0; read = readSync(handle, buffer)) {
      total += read
      yield buffer.subarray(0, read)
      if (total >= expected.size) break
    }
    const after = fstatSync(handle, { bigint: true })
    if (
      total !== expected.size ||
      after.mtimeNs !== expected.mtimeNs ||
      after.ctimeNs !== expected.ctimeNs ||
      Number(after.size) !== expected.size
    )
      throw new VarveError('E_SOURCE_CHANGED', `cannot read "${printable(path)}": it changed while it was read`, {
        hint: 'stop what writes to the source, then run again',
      })
  } finally {
    closeSync(handle)
  }
}

/** The same at once, for a small file; the bytes may be those of `buffer`. */
export function readWhole(root: ByteString, path: ByteString, expected: FileTimes, buffer?: Buffer): Buffer {
  const chunks: Buffer[] = []
  for (const chunk of readContents(root, path, expected, buffer)) {
    // all in one piece, or pieces that the next would overwrite
    chunks.push(chunk.length === expected.size ? chunk : Buffer.from(chunk))
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}

export function join(directory: ByteString, name: ByteString): ByteString {
  return byteString(name === '' ? directory : directory === '' ? name : `${directory}/${name}`)
}

/** A path as the file system takes it: a plain string where it is ASCII, bytes elsewhere. */
export function onDisk(path: ByteString): string | Buffer {
  return /[\x80-\xff]/.test(path) ? Buffer.from(path, 'latin1') : path
}

// Reads one file of a directory, whatever bytes its path has, and notices when it changes meanwhile.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { VarveError } from '../errors.ts'
import { byteString, printable, type ByteString } from '../model/bytes.ts'

export const CHUNK = 1 << 20

/** What must still hold when contents are read again. */
export type FileTimes = { readonly size: bigint; readonly mtimeNs: bigint; readonly ctimeNs: bigint }

/** Yields a file's bytes in chunks of at most 1 MiB; each is valid until the next is asked for. Throws E_SOURCE_CHANGED. */
export function* readContents(root: ByteString, path: ByteString, expected: FileTimes): Generator<Buffer> {
  const handle = openSync(
    onDisk(join(root, path)),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY,
  )
  try {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, Number(expected.size) + 1))
    let total = 0
    for (let read = readSync(handle, buffer); read > 0; read = readSync(handle, buffer)) {
      total += read
      yield buffer.subarray(0, read)
      if (total > Number(expected.size)) break
      if (total === Number(expected.size)) break
    }
    const after = fstatSync(handle, { bigint: true })
    if (
      BigInt(total) !== expected.size ||
      after.mtimeNs !== expected.mtimeNs ||
      after.ctimeNs !== expected.ctimeNs ||
      after.size !== expected.size
    )
      throw new VarveError('E_SOURCE_CHANGED', `cannot read "${printable(path)}": it changed while it was read`, {
        hint: 'stop what writes to the source, then run again',
      })
  } finally {
    closeSync(handle)
  }
}

export function join(directory: ByteString, name: ByteString): ByteString {
  return byteString(name === '' ? directory : directory === '' ? name : `${directory}/${name}`)
}

/** A path as the file system takes it: a plain string where it is ASCII, bytes elsewhere. */
export function onDisk(path: ByteString): string | Buffer {
  return /[\x80-\xff]/.test(path) ? Buffer.from(path, 'latin1') : path
}

// The files of an image that lies on this machine: below a directory, or in a tar that is read where it is.
import type { BigIntStats } from 'node:fs'
import { constants, lstat, open, realpath, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { VarveError, messageOf } from '../errors.ts'
import { byteString, escapeControls, printable, type ByteString } from '../model/bytes.ts'
import { parentOf } from '../model/entry.ts'
import { normalisePath } from '../model/path.ts'
import type { Jumping } from '../tar/cursor.ts'
import { defaultLimits } from '../tar/decompress.ts'
import { readTar, type TarMember, type TarWarning } from '../tar/read.ts'

export type ImageFile = { readonly size: number; readonly bytes: () => AsyncIterable<Uint8Array> }

export type Files = AsyncDisposable & {
  /** Undefined where there is no such file. Throws E_ARCHIVE_LINK for what is no plain file. */
  readonly find: (path: string) => Promise<ImageFile | undefined>
}

const PIECE = 1024 * 1024
/** Headers stand far apart: little is read to find the next one. */
const HEADERS = 16 * 1024

/** Links below the directory are not followed: they may lead to other files of this machine. Throws E_SOURCE. */
export async function directoryFiles(location: string): Promise<Files> {
  const named = `"${escapeControls(location)}"`
  const root = await attempt(named, async () => {
    const real = await realpath(location)
    if (!(await lstat(real)).isDirectory()) throw new VarveError('E_SOURCE', `cannot read ${named}: it is no directory`)
    return real
  })
  const find = async (path: string): Promise<ImageFile | undefined> => {
    const shown = `"${escapeControls(path)}" in ${named}`
    let at = root
    const components = path.split('/')
    for (const [i, component] of components.entries()) {
      at = join(at, component)
      const stats = await attempt(shown, () => orAbsent(lstat(at)))
      if (stats === undefined) return undefined
      if (stats.isSymbolicLink()) throw link(shown, 'a symlink')
      if (i < components.length - 1 ? !stats.isDirectory() : !stats.isFile()) throw link(shown, 'no plain file')
    }
    const { size } = await attempt(shown, () => lstat(at))
    return { size, bytes: () => fileBytes(at, shown) }
  }
  return { find, [Symbol.asyncDispose]: async () => {} }
}

async function* fileBytes(path: string, shown: string): AsyncGenerator<Uint8Array> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  await using handle = await attempt(shown, () => open(path, flags))
  const { size } = await handle.stat()
  yield* rangeOf(handle, { offset: 0, size }, shown)
}

/** Reads the headers only. Throws E_SOURCE, E_COMPRESSION, E_DUP_TYPE, E_PATH_* and the codes of readTar. */
export async function archiveFiles(
  location: string,
  options: { readonly followLinks: boolean; readonly onWarning: (warning: TarWarning) => void },
): Promise<Files> {
  const named = `"${escapeControls(location)}"`
  const handle = await attempt(named, () => open(location, constants.O_RDONLY | constants.O_NONBLOCK)) // a FIFO would wait
  try {
    const stats = await attempt(named, () => handle.stat({ bigint: true }))
    if (!stats.isFile()) throw new VarveError('E_SOURCE', `cannot read ${named}: it is no plain file`)
    await refuseCompressed(handle, { named, location })
    const members = await indexOf(handle, { named, size: Number(stats.size), onWarning: options.onWarning })
    return {
      find: async (path) => {
        const member = resolve(members, byteString(path), { named, followLinks: options.followLinks })
        if (member === undefined) return undefined
        return { size: member.size, bytes: () => unchanged(rangeOf(handle, member, named), { handle, stats, named }) }
      },
      [Symbol.asyncDispose]: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function refuseCompressed(
  handle: FileHandle,
  { named, location }: { readonly named: string; readonly location: string },
): Promise<void> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(6), 0, 6, 0)
  const magic = buffer.subarray(0, bytesRead).toString('hex')
  const command = magic.startsWith('1f8b')
    ? 'gunzip'
    : magic.startsWith('28b52ffd')
      ? 'unzstd'
      : magic === 'fd377a585a00'
        ? 'unxz'
        : undefined
  if (command !== undefined)
    throw new VarveError('E_COMPRESSION', `cannot read ${named}: the archive as a whole is compressed`, {
      hint: `${command} --keep ${escapeControls(location)}`,
    })
}

type Index = ReadonlyMap<ByteString, TarMember>

/** Files and links by their names; one that is there twice could be two things to two readers. */
async function indexOf(
  handle: FileHandle,
  archive: { readonly named: string; readonly size: number; readonly onWarning: (warning: TarWarning) => void },
): Promise<Index> {
  const { named, size, onWarning } = archive
  const members = new Map<ByteString, TarMember>()
  const limits = { entries: defaultLimits.entries, bytes: Infinity }
  for await (const { member } of readTar(jumping(handle, size), { limits, archive: named, onWarning })) {
    if (member.kind === 'directory') continue
    const { path } = normalisePath(member.path)
    if (members.has(path)) throw new VarveError('E_DUP_TYPE', `cannot use ${named}: it has "${printable(path)}" twice`)
    members.set(path, member)
  }
  return members
}

function jumping(handle: FileHandle, size: number): Jumping {
  let at = 0
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(HEADERS), 0, HEADERS, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  }
  return Object.assign(chunks(), { jump: (length: number) => (at += length) <= size })
}

/** `docker save` writes a layer that is there twice as a symlink to the first: one step, within the archive. */
function resolve(
  members: Index,
  path: ByteString,
  how: { readonly named: string; readonly followLinks: boolean },
): TarMember | undefined {
  const shown = `"${printable(path)}" in ${how.named}`
  const member = members.get(path)
  if (member === undefined || isPlain(member)) return member
  if (member.kind !== 'symlink' && member.kind !== 'hardlink') throw link(shown, `a ${member.kind}`)
  if (member.kind === 'symlink' && !how.followLinks) throw link(shown, 'a symlink')
  const target = members.get(targetOf(member, path))
  if (target === undefined || !isPlain(target)) throw link(shown, 'a link, and not to a plain file of the archive')
  return target
}

function isPlain(member: TarMember): boolean {
  return member.kind === 'file' && member.sparse === undefined
}

function targetOf({ kind, linkname }: TarMember, path: ByteString): ByteString {
  if (kind === 'hardlink' || linkname.startsWith('/')) return byteString(linkname.replace(/^(?:\.?\/)+/, ''))
  return byteString(join(parentOf(path), linkname)) // ".." that leads out stays in front, and is the name of nothing
}

async function* rangeOf(
  handle: FileHandle,
  range: { readonly offset: number; readonly size: number },
  shown: string,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < range.size;) {
    const buffer = Buffer.allocUnsafe(Math.min(PIECE, range.size - done))
    const { bytesRead } = await attempt(shown, () => handle.read(buffer, 0, buffer.length, range.offset + done))
    if (bytesRead === 0) throw new VarveError('E_SOURCE_CHANGED', `cannot read ${shown}: it became shorter`)
    done += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** Says so where a wrong digest is to be expected. */
async function* unchanged(
  bytes: AsyncIterable<Uint8Array>,
  { handle, stats, named }: { readonly handle: FileHandle; readonly stats: BigIntStats; readonly named: string },
): AsyncGenerator<Uint8Array> {
  yield* bytes
  const now = await handle.stat({ bigint: true })
  if (now.size !== stats.size || now.mtimeNs !== stats.mtimeNs || now.ctimeNs !== stats.ctimeNs)
    throw new VarveError('E_SOURCE_CHANGED', `cannot read ${named}: it changed while it was read`, {
      hint: 'wait until it is written, and run the command again',
    })
}

async function orAbsent<Value>(promise: Promise<Value>): Promise<Value | undefined> {
  try {
    return await promise
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function attempt<Value>(shown: string, action: () => Promise<Value>): Promise<Value> {
  try {
    return await action()
  } catch (cause) {
    if (cause instanceof VarveError) throw cause
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ELOOP') throw link(shown, 'a symlink')
    const why = code === 'ENOENT' ? 'it is not there' : code === 'EACCES' ? 'permission denied' : messageOf(cause)
    throw new VarveError('E_SOURCE', `cannot read ${shown}: ${escapeControls(why)}`, { cause })
  }
}

function link(shown: string, what: string): VarveError {
  return new VarveError('E_ARCHIVE_LINK', `cannot read ${shown}: it is ${what}`, {
    hint: 'make the image again, e.g. with skopeo copy',
  })
}

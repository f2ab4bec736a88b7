// Checks what an archive says of a member against what Linux can hold, and counts what had to be left out.
import { VarveError, type ErrorCode } from '../errors.ts'
import { printable, type ByteString } from '../model/bytes.ts'
import type { Metadata } from '../model/entry.ts'
import { normalisePath } from '../model/path.ts'
import { acceptXattrs } from '../model/xattr.ts'
import type { TarMember, TarWarning } from './read.ts'
import type { Special } from './merge.ts'

/** Counted, so that an archive full of them gives one warning each. */
export type Notes = {
  readonly absolute: ByteString[]
  readonly clamped: ByteString[]
  readonly xattrs: Map<ByteString, number>
}

/** 4294967295 means "leave as it is" to chown. */
const LARGEST_ID = 0xfffffffe
const LARGEST_MAJOR = 0xfff
const LARGEST_MINOR = 0xfffff
const LONGEST_TARGET = 4095
/** From 1677 to 2262: what 64 bits of nanoseconds hold. */
const LARGEST_NS = (1n << 63n) - 1n

export function noNotes(): Notes {
  return { absolute: [], clamped: [], xattrs: new Map() }
}

/** Throws E_PATH_*. */
export function memberPath(member: TarMember, notes: Notes): ByteString {
  const { path, absolute } = normalisePath(member.path)
  if (absolute) notes.absolute.push(path)
  return path
}

/** Throws E_OWNER, E_XATTR_SIZE or E_CAP. */
export function memberMetadata(member: TarMember, path: ByteString, notes: Notes): Metadata {
  const { kind, uid, gid } = member
  if (!(isId(uid) && isId(gid)))
    throw refused('E_OWNER', path, `the owner ${uid}:${gid} is not between 0 and ${LARGEST_ID}`)
  const owner = { path, kind: kind === 'hardlink' ? ('file' as const) : kind }
  const { kept, dropped } = acceptXattrs(member.xattrs, owner)
  for (const name of dropped) notes.xattrs.set(name, (notes.xattrs.get(name) ?? 0) + 1)
  const mtimeNs = member.mtimeNs > LARGEST_NS ? LARGEST_NS : member.mtimeNs < -LARGEST_NS ? -LARGEST_NS : member.mtimeNs
  if (mtimeNs !== member.mtimeNs) notes.clamped.push(path)
  // Linux knows no mode of a symlink; what archives say of it depends on who made them
  return { mode: kind === 'symlink' ? 0o777 : member.mode, uid, gid, mtimeNs, xattrs: kept }
}

/** What is no file. Throws E_DEVICE, E_WHITEOUT_DEV, E_PATH_LONG or E_PATH_EMPTY. */
export function specialEntry(member: TarMember, path: ByteString, metadata: Metadata): Special {
  const { kind, major, minor, linkname } = member
  switch (kind) {
    case 'directory':
      return { kind, path, ...metadata }
    case 'symlink':
      if (linkname === '') throw refused('E_PATH_EMPTY', path, 'the target of the symlink is empty')
      if (linkname.includes('\0')) throw refused('E_PATH_ESCAPE', path, 'the target of the symlink contains a NUL byte')
      if (linkname.length > LONGEST_TARGET)
        throw refused('E_PATH_LONG', path, `the target of the symlink is longer than ${LONGEST_TARGET} bytes`)
      return { kind, path, ...metadata, target: linkname }
    case 'fifo':
      return { kind, path, ...metadata, major: 0, minor: 0 }
    case 'char':
    case 'block':
      if (kind === 'char' && major === 0 && minor === 0)
        throw refused('E_WHITEOUT_DEV', path, 'a character device 0:0 hides files where overlayfs is used')
      if (!(major >= 0 && major <= LARGEST_MAJOR && minor >= 0 && minor <= LARGEST_MINOR))
        throw refused('E_DEVICE', path, `Linux has no device ${major}:${minor}`)
      return { kind, path, ...metadata, major, minor }
    default:
      throw new VarveError('E_BUG', `cannot make a ${kind} of "${printable(path)}"`)
  }
}

export function warningsOf(notes: Notes, implied: ReadonlySet<ByteString>): TarWarning[] {
  const warnings: TarWarning[] = []
  const add = (code: string, text: string, paths: Iterable<ByteString>): void => {
    const [first, ...others] = paths
    if (first === undefined) return
    const more = others.length === 0 ? '' : ` and ${others.length} more`
    warnings.push({ code, message: `${text}: "${printable(first)}"${more}` })
  }
  add('W_PATH_ABS', 'took the leading "/" off names', notes.absolute)
  add('W_MTIME', 'moved times into the years 1678 to 2261', notes.clamped)
  add('W_IMPLIED_DIR', 'made directories (0755 root) that the archive has entries in, but does not list', implied)
  if (notes.xattrs.size > 0) {
    const names = [...notes.xattrs].map(([name, count]) => `${printable(name)} (${count})`).slice(0, 20)
    const more = notes.xattrs.size > names.length ? ` and ${notes.xattrs.size - names.length} more` : ''
    warnings.push({
      code: 'W_XATTR',
      message: `left out extended attributes that belong to another machine: ${names.join(', ')}${more}`,
    })
  }
  return warnings
}

function isId(id: number): boolean {
  return id >= 0 && id <= LARGEST_ID
}

function refused(code: ErrorCode, path: ByteString, why: string): VarveError {
  return new VarveError(code, `cannot use "${path === '' ? '/' : printable(path)}": ${why}`)
}

// Decides which extended attributes belong to a root filesystem, and checks those that a kernel would refuse.
import { VarveError } from '../errors.ts'
import { printable, type ByteString } from './bytes.ts'
import type { Entry, Xattr } from './entry.ts'

/** The kernel's bound on a value: https://man7.org/linux/man-pages/man7/xattr.7.html */
const LARGEST_VALUE = 65536
const LONGEST_NAME = 255

/** Size by revision byte: https://github.com/torvalds/linux/blob/master/include/uapi/linux/capability.h */
const CAPABILITY_SIZES: Readonly<Record<number, number>> = { 1: 12, 2: 20, 3: 24 }

export type AcceptedXattrs = {
  /** Sorted by name. */
  readonly kept: readonly Xattr[]
  /** Names that were left out: they are of the host that made the source, not of the root filesystem. */
  readonly dropped: readonly ByteString[]
}

/**
 * Keeps `user.*` (not `user.overlay.*`), `security.capability` and POSIX ACLs where Linux can hold them; names all
 * others. Throws E_XATTR_SIZE, or E_CAP for a capability or an ACL that is none.
 */
export function acceptXattrs(
  raw: readonly Xattr[],
  owner: { readonly path: ByteString; readonly kind: Entry['kind'] },
): AcceptedXattrs {
  if (raw.length === 0) return { kept: [], dropped: [] }
  const kept: Xattr[] = []
  const dropped: ByteString[] = []
  for (const attribute of raw) {
    if (belongs(attribute.name, owner.kind)) {
      check(attribute, owner.path)
      kept.push(attribute)
    } else dropped.push(attribute.name)
  }
  kept.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  return { kept, dropped }
}

function belongs(name: ByteString, kind: Entry['kind']): boolean {
  if (name === 'security.capability') return true
  if (name === 'system.posix_acl_access') return kind !== 'symlink'
  if (name === 'system.posix_acl_default') return kind === 'directory'
  if (name.startsWith('user.overlay.') || name === 'user.') return false
  return name.startsWith('user.') && (kind === 'file' || kind === 'directory')
}

function check(attribute: Xattr, path: ByteString): void {
  const what = `cannot keep the extended attribute "${printable(attribute.name.slice(0, 300))}" of "${printable(path)}"`
  if (attribute.name.length > LONGEST_NAME)
    throw new VarveError('E_XATTR_SIZE', `${what}: the name is longer than ${LONGEST_NAME} bytes`)
  if (attribute.value.length > LARGEST_VALUE)
    throw new VarveError(
      'E_XATTR_SIZE',
      `${what}: the value is ${attribute.value.length} bytes, and Linux holds ${LARGEST_VALUE}`,
    )
  if (attribute.name === 'security.capability' && !isCapability(attribute.value))
    throw new VarveError('E_CAP', `${what}: it is no file capability of version 1, 2 or 3`)
  if (attribute.name.startsWith('system.posix_acl_') && !isAcl(attribute.value))
    throw new VarveError('E_CAP', `${what}: it is no POSIX access control list of version 2`)
}

/** A little-endian word: the revision in the top byte, bit 0 the effective flag, nothing between. */
function isCapability(value: ByteString): boolean {
  const revision = value.charCodeAt(3)
  return (
    value.length === CAPABILITY_SIZES[revision] &&
    value.charCodeAt(0) <= 1 &&
    value.charCodeAt(1) === 0 &&
    value.charCodeAt(2) === 0
  )
}

function isAcl(value: ByteString): boolean {
  return value.startsWith('\x02\0\0\0') && value.length % 8 === 4
}

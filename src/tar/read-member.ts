// Makes one member of what an archive says of it in its header, its extended header and its long names.
import { byteString, type ByteString } from '../model/bytes.ts'
import type { Xattr } from '../model/entry.ts'
import { tarError, type Cursor, type Place } from './cursor.ts'
import type { Header } from './header.ts'
import type { PaxFields } from './pax.ts'
import { makeSparse, paxSparse, readMap, readOldMap, type Sparse } from './sparse.ts'

export type TarMember = {
  /** As in the archive: not normalised, not to be trusted. */
  readonly path: ByteString
  readonly kind: 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'
  readonly mode: number
  /** May be negative or too large for a host. */
  readonly uid: number
  readonly gid: number
  readonly mtimeNs: bigint
  /** Of the contents as they are presented: 0 for all but files. */
  readonly size: number
  readonly linkname: ByteString
  readonly major: number
  readonly minor: number
  readonly xattrs: readonly Xattr[]
  /** Where what is stored of the contents begins, in bytes of the uncompressed archive. */
  readonly offset: number
  /** How the stored bytes lie in the contents, where those have holes. */
  readonly sparse?: Sparse
}

export type TarHead = {
  readonly header: Header
  readonly block: Buffer
  readonly place: Place
  readonly pax: PaxFields
  readonly longName: ByteString | undefined
  readonly longLink: ByteString | undefined
}

/** Above it ustar's eleven octal digits do not hold a size, and the record of PAX is the only true one. */
const LARGEST_OCTAL = 8 ** 11 - 1
const KINDS: Readonly<Record<string, TarMember['kind']>> = {
  '0': 'file',
  '\0': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
}

/** Also how much of the contents is stored. Moves the cursor behind a sparse file's map, to where its data begins. */
export async function makeMember(cursor: Cursor, head: TarHead): Promise<{ member: TarMember; stored: number }> {
  const { header, pax, place } = head
  const { sparse, stored, name } = await readSparse(cursor, head)
  const path = name ?? pathOf(head)
  const kind =
    header.type !== 'S' && KINDS[header.type] === 'file' && path.endsWith('/') ? 'directory' : KINDS[header.type]
  if (kind === undefined)
    throw tarError(
      'E_TAR_TYPE',
      place,
      `the member is of type ${JSON.stringify(header.type)}, which varve does not read`,
    )
  if (kind !== 'file' && stored !== 0) throw tarError('E_TAR_SIZE', place, `a ${kind} has contents`)
  if (!Number.isFinite(header.mode)) throw tarError('E_TAR_FORMAT', place, 'the mode is no number')
  if (pax.mtimeNs === undefined && !Number.isFinite(header.mtime))
    throw tarError('E_MTIME', place, 'the time is no number of seconds')
  const device = kind === 'char' || kind === 'block'
  if (device && !(Number.isFinite(header.major) && Number.isFinite(header.minor)))
    throw tarError('E_DEVICE', place, 'the device number is no number')
  const link = kind === 'symlink' || kind === 'hardlink'
  const member: TarMember = {
    path,
    kind,
    mode: header.mode & 0o7777,
    uid: owner(pax.uid ?? header.uid, place),
    gid: owner(pax.gid ?? header.gid, place),
    mtimeNs: pax.mtimeNs ?? BigInt(header.mtime) * 1_000_000_000n,
    size: sparse?.size ?? stored,
    linkname: link ? linkOf(head) : byteString(''),
    major: device ? header.major : 0,
    minor: device ? header.minor : 0,
    xattrs: pax.xattrs,
    offset: cursor.position,
    ...(sparse === undefined ? {} : { sparse }),
  }
  return { member, stored }
}

/** What is stored, less the map of a sparse file where that stands before the data. */
async function readSparse(
  cursor: Cursor,
  head: TarHead,
): Promise<{ stored: number; sparse?: Sparse; name?: ByteString | undefined }> {
  const { header, pax, place } = head
  const stored = sizeOf(head)
  if (header.type === 'S') {
    if (header.dialect !== 'gnu' || pax.sparse.length > 0)
      throw tarError('E_TAR_SPARSE', place, 'a member is marked as sparse in two ways')
    const old = await readOldMap(cursor, head.block)
    return { stored, sparse: makeSparse(old.size, old.numbers, { stored, place }) }
  }
  const found = paxSparse(pax.sparse, place)
  if (found === undefined) return { stored }
  if (KINDS[header.type] !== 'file') throw tarError('E_TAR_SPARSE', place, 'what is marked as sparse is no file')
  const before = cursor.position
  const numbers = found.map === 'given' ? found.numbers : await readMap(cursor, stored)
  const left = stored - (cursor.position - before)
  return { stored: left, name: found.name, sparse: makeSparse(found.size, numbers, { stored: left, place }) }
}

function sizeOf({ header, pax, place }: TarHead): number {
  const size = pax.size ?? header.size
  if (!Number.isSafeInteger(size) || size < 0)
    throw tarError('E_TAR_SIZE', place, 'the size is negative, too large or no number')
  if (pax.size !== undefined && pax.size !== header.size && !(header.size === 0 && pax.size > LARGEST_OCTAL))
    throw tarError(
      'E_TAR_PAX',
      place,
      `the size is ${header.size} in the header and ${pax.size} in the extended header`,
    )
  return size
}

function pathOf({ header, pax, longName, place }: TarHead): ByteString {
  if (pax.path !== undefined && longName !== undefined && pax.path !== longName)
    throw tarError('E_TAR_PAX', place, 'the member has two long names')
  return pax.path ?? longName ?? header.name
}

function linkOf({ header, pax, longLink, place }: TarHead): ByteString {
  if (pax.linkpath !== undefined && longLink !== undefined && pax.linkpath !== longLink)
    throw tarError('E_TAR_PAX', place, 'the member has two long link targets')
  return pax.linkpath ?? longLink ?? header.linkname
}

function owner(id: number, place: Place): number {
  if (!Number.isFinite(id)) throw tarError('E_OWNER', place, 'the owner or the group is no number')
  return id
}

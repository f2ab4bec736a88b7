// Reads PAX extended headers as bytes, and says what their records mean for a member.
import { byteString, printable, type ByteString } from '../model/bytes.ts'
import type { Xattr } from '../model/entry.ts'
import { aclFromText } from './acl.ts'
import { tarError, type Place } from './cursor.ts'

export type PaxRecord = readonly [key: string, value: ByteString]

export type PaxFields = {
  readonly path?: ByteString
  readonly linkpath?: ByteString
  readonly size?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtimeNs?: bigint
  readonly xattrs: readonly Xattr[]
  /** Records of GNU.sparse, keys without that prefix, in their order. */
  readonly sparse: readonly PaxRecord[]
}

/** Which of a global header's records varve lets act on all members; path and size of all members make no sense. */
const GLOBAL = new Set(['uid', 'gid', 'mtime'])
const NEVER_GLOBAL =
  /^(?:path$|linkpath$|size$|GNU\.sparse\.|SCHILY\.(?:xattr|acl)\.|LIBARCHIVE\.xattr\.|RHT\.security)/
/** They make another thing of the member, which varve does not know how to make. */
const UNKNOWN_MEANING =
  /^(?:GNU\.(?:volume|dumpdir)|SCHILY\.(?:realsize|filetype|offset|volume|multivol|devmajor|devminor|acl\.ace|tarfiletype|dir))/
const XATTR = 'SCHILY.xattr.'
const BASE64_XATTR = 'LIBARCHIVE.xattr.'
const ACCESS = byteString('system.posix_acl_access')
const MODE_ONLY = 4 + 3 * 8
const ACLS: Readonly<Record<string, ByteString>> = {
  'SCHILY.acl.access': ACCESS,
  'SCHILY.acl.default': byteString('system.posix_acl_default'),
}

/**
 * Splits `LENGTH KEY=VALUE\n` records. Throws E_TAR_PAX where a length is wrong or a key contradicts itself.
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03
 */
export function decodePax(body: Buffer, place: Place): PaxRecord[] {
  const records: PaxRecord[] = []
  const seen = new Map<string, ByteString>()
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(0x20, at)
    const digits = space === -1 || space - at > 7 ? '' : body.toString('latin1', at, space)
    const end = at + Number(digits)
    if (!/^[1-9][0-9]*$/.test(digits) || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a)
      throw refused(place, 'a record of the extended header has a wrong length')
    const record = body.toString('latin1', space + 1, end - 1)
    const equals = record.indexOf('=')
    const key = record.slice(0, equals)
    if (equals < 1 || key.includes('\0')) throw refused(place, 'a record of the extended header has no key')
    const value = byteString(record.slice(equals + 1))
    if ((seen.get(key) ?? value) !== value && !/^GNU\.sparse\.(?:offset|numbytes)$/.test(key))
      throw refused(place, `the extended header gives "${printable(key)}" twice, and not the same`)
    seen.set(key, value)
    records.push([key, value])
    at = end
  }
  return records
}

/** The records of a global header that act on the members after it. Throws E_TAR_PAX for those that must not. */
export function globalFields(records: readonly PaxRecord[], place: Place): PaxRecord[] {
  for (const [key] of records)
    if (NEVER_GLOBAL.test(key) || UNKNOWN_MEANING.test(key))
      throw refused(place, `a global extended header gives "${printable(key)}" to all members`)
  return records.filter(([key]) => GLOBAL.has(key))
}

/** What the records say; later ones override earlier ones, as those of a member do the global ones. */
export function paxFields(records: readonly PaxRecord[], place: Place): PaxFields {
  const fields: { -readonly [key in keyof PaxFields]: PaxFields[key] } = { xattrs: [], sparse: [] }
  const sparse: PaxRecord[] = []
  for (const [key, value] of records) {
    if (key === 'path' || key === 'linkpath') fields[key] = name(key, value, place)
    else if (key === 'size' || key === 'uid' || key === 'gid') fields[key] = integer(key, value, place)
    else if (key === 'mtime') fields.mtimeNs = time(value, place)
    else if (key.startsWith('GNU.sparse.')) sparse.push([key.slice('GNU.sparse.'.length), value])
    else if (UNKNOWN_MEANING.test(key))
      throw refused(place, `the extended header has "${printable(key)}", which varve does not know`)
  }
  return { ...fields, sparse, xattrs: xattrsOf(records, place) }
}

function name(key: string, value: ByteString, place: Place): ByteString {
  if (value === '' || value.includes('\0'))
    throw refused(place, `the ${key} in the extended header is empty or contains a NUL byte`)
  return value
}

function integer(key: 'size' | 'uid' | 'gid', value: ByteString, place: Place): number {
  if (!/^-?[0-9]{1,32}$/.test(value)) throw refused(place, `the ${key} in the extended header is no number`)
  return Number(value)
}

/** To the nanosecond, what is below it rounded down, as GNU tar does. */
function time(value: ByteString, place: Place): bigint {
  const match = /^(-?)([0-9]{1,18})(?:\.([0-9]*))?$/.exec(value)
  if (match === null)
    throw tarError('E_MTIME', place, `the time "${printable(value.slice(0, 80))}" is no number of seconds`)
  const [, sign, seconds = '', fraction = ''] = match
  const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'))
  return sign === '-' ? -ns - (/[1-9]/.test(fraction.slice(9)) ? 1n : 0n) : ns
}

function xattrsOf(records: readonly PaxRecord[], place: Place): Xattr[] {
  const found = new Map<ByteString, ByteString>()
  const add = (name: ByteString, value: ByteString): void => {
    if (name === '' || name.includes('\0')) throw refused(place, 'an extended attribute has no usable name')
    if ((found.get(name) ?? value) !== value)
      throw refused(place, `the extended attribute "${printable(name)}" is there twice, and not the same`)
    found.set(name, value)
  }
  for (const [key, value] of records) {
    if (key.startsWith(XATTR)) add(unescaped(key.slice(XATTR.length), /%(3D|25)/gi), value)
    else if (key === 'RHT.security.selinux') add(byteString('security.selinux'), value)
    else if (key.startsWith(BASE64_XATTR)) {
      if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw refused(place, `"${printable(key)}" is not in base 64`)
      add(
        unescaped(key.slice(BASE64_XATTR.length), /%([0-9A-F]{2})/gi),
        byteString(Buffer.from(value, 'base64').toString('latin1')),
      )
    }
  }
  for (const [key, text] of records) {
    const name = ACLS[key]
    if (name === undefined || text.trim() === '') continue
    const value = aclFromText(text)
    if (value !== undefined) add(name, value)
    else if (!found.has(name))
      throw tarError('E_TAR_PAX', place, `"${key}" names somebody whose number it does not tell`, HOW_ACL)
  }
  // a list of owner, group and others only is the mode said again, and a kernel keeps it as that
  if (found.get(ACCESS)?.length === MODE_ONLY) found.delete(ACCESS)
  return [...found].map(([name, value]) => ({ name, value }))
}

const HOW_ACL = "make it with tar --xattrs --xattrs-include='*', which keeps numbers"

function unescaped(text: string, pattern: RegExp): ByteString {
  return byteString(text.replace(pattern, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))))
}

function refused(place: Place, why: string): Error {
  return tarError('E_TAR_PAX', place, why)
}

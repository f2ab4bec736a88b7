// One member of an archive that varve writes, and the header it takes: what fits goes into ustar, the rest before it.
import type { Header } from 'tar-stream'
import { VarveError, type ErrorCode } from '../errors.ts'
import { printable, type ByteString } from '../model/bytes.ts'
import type { Metadata } from '../model/entry.ts'
import { BLOCK, checksum } from './header.ts'

export type Member = Metadata & { readonly name: ByteString } & (
    | {
        readonly kind: 'file'
        readonly size: number
        readonly contents: () => AsyncIterable<Uint8Array> | Uint8Array
      }
    | { readonly kind: 'directory' | 'fifo' }
    | { readonly kind: 'symlink' | 'hardlink'; readonly target: ByteString }
    | { readonly kind: 'char' | 'block'; readonly major: number; readonly minor: number }
  )

/** `pax` is exact. `gnu` is for BusyBox tar, which does not read PAX: whole seconds, no xattrs, owners up to 262143. */
export type Dialect = 'pax' | 'gnu'

/** What tar-stream can put into its six octal digits; above, it writes the largest that it can. */
const LARGEST_ID = 0o777777
/** tar-stream passes seconds through 32 bits. */
const LARGEST_SECONDS = 0x7fffffff
/** Linux has twelve bits of major number and twenty of minor; the header's seven octal digits hold both. */
const LARGEST_MAJOR = 0xfff
const LARGEST_MINOR = 0xfffff
/** What a reader sees who skips the records that hold the truth. */
const PLACEHOLDER = '@LongName'
const NOBODY = 65534
const ZEROS = Buffer.alloc(BLOCK)
const NS = 1_000_000_000n
const TYPES = {
  file: 'file',
  directory: 'directory',
  symlink: 'symlink',
  hardlink: 'link',
  char: 'character-device',
  block: 'block-device',
  fifo: 'fifo',
} as const

/**
 * The header for tar-stream, and the blocks that must stand before it; `block` is a header made here, to be used instead,
 * where tar-stream would cut a device number. Throws E_LOSS, E_DEVICE, E_PATH_EMPTY.
 */
export function encodeHeader(
  member: Member,
  dialect: Dialect,
): { header: HeaderArgument; extensions: readonly Buffer[]; block: Buffer | undefined } {
  const { name } = member
  if (name === '' || name.includes('\0'))
    throw refused(member, 'E_PATH_EMPTY', 'the name is empty or contains a NUL byte')
  const target = member.kind === 'symlink' || member.kind === 'hardlink' ? member.target : undefined
  if (target === '' || target?.includes('\0') === true)
    throw refused(member, 'E_PATH_EMPTY', 'what it links to is empty or contains a NUL byte')
  const seconds = member.mtimeNs / NS
  const plain = {
    name: isCut(member)
      ? fitsField(name)
      : fitsName(member.kind === 'directory' && !name.endsWith('/') ? `${name}/` : name),
    target: target === undefined || fitsField(target),
    uid: member.uid <= LARGEST_ID,
    gid: member.gid <= LARGEST_ID,
    mtime: member.mtimeNs >= 0n && seconds <= LARGEST_SECONDS && seconds * NS === member.mtimeNs,
  }
  const header: HeaderArgument = {
    name: plain.name ? name : PLACEHOLDER,
    // tar-stream takes 0 for "not given"; it masks the file type
    mode: (member.mode & 0o7777) | 0o100000,
    uid: plain.uid ? member.uid : NOBODY,
    gid: plain.gid ? member.gid : NOBODY,
    mtime: new Date(plain.mtime ? Number(seconds) * 1000 : 0),
    type: TYPES[member.kind],
    ...(member.kind === 'file' ? { size: member.size } : {}),
    ...(target === undefined ? {} : { linkname: plain.target ? target : PLACEHOLDER }),
    ...(member.kind === 'char' || member.kind === 'block' ? device(member) : {}),
  }
  const extensions = dialect === 'pax' ? pax(member, plain, target) : gnu(member, plain, target)
  return { header, extensions, block: isCut(member) ? deviceBlock(member, header) : undefined }
}

type DeviceMember = Extract<Member, { major: number }>

/** tar-stream writes six digits of a device number. */
function isCut(member: Member): member is DeviceMember {
  return (member.kind === 'char' || member.kind === 'block') && member.minor > LARGEST_ID
}

function deviceBlock(member: DeviceMember, header: HeaderArgument): Buffer {
  const block = Buffer.alloc(BLOCK)
  block.write(header.name, 0, 'latin1')
  const mode = (member.mode & 0o7777).toString(8).padStart(7, '0')
  block.write(
    [mode, digits(header.uid ?? 0), digits(header.gid ?? 0)].map((field) => `${field}\0`).join(''),
    100,
    'latin1',
  )
  block.write(`${octal(0)}\0${octal((header.mtime?.getTime() ?? 0) / 1000)}\0`, 124, 'latin1')
  block.write(member.kind === 'char' ? '3' : '4', 156, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  block.write(`${digits(member.major)}\0${digits(member.minor)}\0`, 329, 'latin1')
  block.write(`${checksum(block).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function digits(value: number): string {
  return value.toString(8).padStart(7, '0')
}

type HeaderArgument = Partial<Header> & Pick<Header, 'name'>
type Plain = { readonly [field in 'name' | 'target' | 'uid' | 'gid' | 'mtime']: boolean }

function pax(member: Member, plain: Plain, target: ByteString | undefined): Buffer[] {
  const records: string[] = []
  if (!plain.name) records.push(paxRecord('path', member.name))
  if (target !== undefined && !plain.target) records.push(paxRecord('linkpath', target))
  if (!plain.uid) records.push(paxRecord('uid', String(member.uid)))
  if (!plain.gid) records.push(paxRecord('gid', String(member.gid)))
  if (!plain.mtime) records.push(paxRecord('mtime', paxTime(member.mtimeNs)))
  for (const { name, value } of member.xattrs) records.push(paxRecord(xattrKeyword(name), value))
  return records.length === 0 ? [] : [encodeExtension('x', records.join(''))]
}

function gnu(member: Member, plain: Plain, target: ByteString | undefined): Buffer[] {
  if (!plain.uid || !plain.gid)
    throw refused(member, 'E_LOSS', `the owner ${member.uid}:${member.gid} is above ${LARGEST_ID}`)
  if (!plain.mtime)
    throw refused(member, 'E_LOSS', `the time ${paxTime(member.mtimeNs)} is no whole second from 1970 to 2038`)
  if (member.xattrs.length > 0) throw refused(member, 'E_LOSS', 'it has extended attributes')
  return [
    ...(target === undefined || plain.target ? [] : [encodeExtension('K', `${target}\0`)]),
    ...(plain.name ? [] : [encodeExtension('L', `${member.name}\0`)]),
  ]
}

function device(member: DeviceMember): { devmajor: number; devminor: number } {
  if (member.major > LARGEST_MAJOR || member.minor > LARGEST_MINOR)
    throw refused(
      member,
      'E_DEVICE',
      `the device ${member.major}:${member.minor} is above ${LARGEST_MAJOR}:${LARGEST_MINOR}, which is all that Linux has`,
    )
  return { devmajor: member.major, devminor: member.minor }
}

/** tar-stream encodes as UTF-8 and moves leading components into the prefix; neither may change a byte of the name. */
function fitsName(name: string): boolean {
  if (!isAscii(name)) return false
  if (name.length <= 100) return true
  if (name.startsWith('/') || name.includes('//')) return false
  const slash = name.indexOf('/', name.length - 101)
  return slash !== -1 && slash <= 155 && slash !== name.length - 1
}

function fitsField(value: string): boolean {
  return value.length <= 100 && isAscii(value)
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

function refused(member: Member, code: ErrorCode, why: string): VarveError {
  const hint = 'install GNU tar on the host, which keeps it'
  return new VarveError(code, `cannot write "${printable(member.name)}": ${why}`, code === 'E_LOSS' ? { hint } : {})
}

/** One member of type `x`, `L` or `K`: header, body and padding. */
function encodeExtension(type: 'x' | 'L' | 'K', body: string): Buffer {
  const size = Buffer.byteLength(body, 'latin1')
  const header = Buffer.alloc(BLOCK)
  header.write(type === 'x' ? 'PaxHeader' : '././@LongLink', 0, 'latin1')
  header.write('0000644\0' + '0000000\0'.repeat(2), 100, 'latin1')
  header.write(`${octal(size)}\0${octal(0)}\0`, 124, 'latin1')
  header.write(type, 156, 'latin1')
  header.write(type === 'x' ? 'ustar\x0000' : 'ustar  \0', 257, 'latin1')
  header.write(`${checksum(header).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return Buffer.concat([header, Buffer.from(body, 'latin1'), padding(size)])
}

/**
 * `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03
 */
function paxRecord(key: string, value: ByteString | string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length + 1
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length
  return `${length}${rest}`
}

/** GNU tar's spelling of `%` and `=` in the keyword of an attribute, whose name ends at the first `=`. */
function xattrKeyword(name: ByteString): string {
  return `SCHILY.xattr.${name.replaceAll('%', '%25').replaceAll('=', '%3D')}`
}

/** Seconds with as many digits after the point as are needed; below zero the sign stands for the whole number. */
export function paxTime(ns: bigint): string {
  const absolute = ns < 0n ? -ns : ns
  const fraction = String(absolute % 1_000_000_000n)
    .padStart(9, '0')
    .replace(/0+$/, '')
  return `${ns < 0n ? '-' : ''}${absolute / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`
}

function padding(size: number): Uint8Array {
  return ZEROS.subarray(0, (BLOCK - (size % BLOCK)) % BLOCK)
}

function octal(value: number): string {
  return value.toString(8).padStart(11, '0')
}

// Decodes one 512-byte header block, V7, ustar or GNU, and refuses what readers disagree about.
import { byteString, type ByteString } from '../model/bytes.ts'
import { tarError, type Place } from './cursor.ts'

export const BLOCK = 512

export type Header = {
  readonly dialect: 'v7' | 'ustar' | 'gnu'
  readonly type: string
  /** With the prefix of ustar in front. */
  readonly name: ByteString
  readonly linkname: ByteString
  readonly mode: number
  /** Numbers that the field does not hold are NaN, those that no double holds exactly are infinite. */
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly major: number
  readonly minor: number
}

/** https://www.gnu.org/software/tar/manual/html_node/Standard.html Throws E_TAR_FORMAT or E_TAR_CHECKSUM. */
export function decodeHeader(block: Buffer, place: Place): Header {
  const magic = block.toString('latin1', 257, 265)
  if (!checksumHolds(block))
    throw magic.startsWith('ustar')
      ? tarError('E_TAR_CHECKSUM', place, 'the header checksum is wrong')
      : tarError('E_TAR_FORMAT', place, 'there is no tar header', place.at === 0 ? 'name a tar archive' : undefined)
  const dialect = dialectOf(magic)
  if (dialect === undefined || (dialect === 'ustar' && block.toString('latin1', 508) === 'tar\0'))
    throw tarError('E_TAR_FORMAT', place, 'the header is of an unknown kind of tar', 'make it with tar --format=posix')
  const prefix = dialect === 'ustar' ? text(block, 345, 155) : ''
  const name = text(block, 0, 100)
  return {
    dialect,
    type: block.toString('latin1', 156, 157),
    name: prefix === '' ? name : byteString(`${prefix}/${name}`),
    linkname: text(block, 157, 100),
    mode: decodeNumber(block, 100, 8),
    uid: decodeNumber(block, 108, 8),
    gid: decodeNumber(block, 116, 8),
    size: decodeNumber(block, 124, 12),
    mtime: decodeNumber(block, 136, 12),
    major: dialect === 'v7' ? 0 : decodeNumber(block, 329, 8),
    minor: dialect === 'v7' ? 0 : decodeNumber(block, 337, 8),
  }
}

/** Whether the first bytes of an archive that is cut off within its first header look like one. */
export function looksLikeHeader(bytes: Buffer): boolean {
  const end = bytes.indexOf(0)
  if (end <= 0) return false
  return !bytes.subarray(end, 100).some((byte) => byte !== 0) && /^[0-7 \0]*$/.test(bytes.toString('latin1', 100, 148))
}

/** Some old writers summed signed bytes. */
export function checksumHolds(block: Buffer): boolean {
  const stored = decodeNumber(block, 148, 8)
  const unsigned = checksum(block)
  if (stored === unsigned) return true
  let high = 0
  for (let i = 0; i < BLOCK; i++) if ((i < 148 || i >= 156) && (block[i] ?? 0) > 127) high++
  return high > 0 && stored === unsigned - 256 * high
}

/** The sum of all bytes of a header, its own field read as spaces. */
export function checksum(header: Uint8Array): number {
  let sum = 8 * 0x20
  for (let i = 0; i < 148; i++) sum += header[i] ?? 0
  for (let i = 156; i < BLOCK; i++) sum += header[i] ?? 0
  return sum
}

/** Octal digits, or base 256 where the first bit is set. NaN for what is neither. */
export function decodeNumber(block: Buffer, offset: number, length: number): number {
  if ((block[offset] ?? 0) >= 0x80) return base256(block.subarray(offset, offset + length))
  let i = offset
  const end = offset + length
  while (i < end && block[i] === 0x20) i++
  let value = 0
  for (; i < end; i++) {
    const byte = block[i] ?? 0
    if (byte === 0 || byte === 0x20) return value
    if (byte < 0x30 || byte > 0x37) return NaN
    value = value * 8 + byte - 0x30
  }
  return value
}

function base256(field: Buffer): number {
  let value = BigInt((field[0] ?? 0) & 0x3f) - BigInt((field[0] ?? 0) & 0x40)
  for (const byte of field.subarray(1)) value = (value << 8n) | BigInt(byte)
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : number * Infinity
}

function dialectOf(magic: string): Header['dialect'] | undefined {
  if (magic === 'ustar  \0') return 'gnu'
  if (magic.startsWith('ustar\0')) return 'ustar'
  return magic.startsWith('ustar') ? undefined : 'v7'
}

function text(block: Buffer, offset: number, length: number): ByteString {
  const nul = block.indexOf(0, offset)
  return byteString(block.toString('latin1', offset, nul === -1 ? offset + length : Math.min(nul, offset + length)))
}

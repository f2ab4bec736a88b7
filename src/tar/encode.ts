// Encodes the raw 512-byte headers and PAX records that tar-stream cannot: those whose names and values are bytes.
import type { ByteString } from '../model/bytes.ts'

export const BLOCK = 512

const ZEROS = Buffer.alloc(BLOCK)

/** One member of type `x`, `L` or `K`: header, body and padding. */
export function encodeExtension(type: 'x' | 'L' | 'K', body: string): Buffer {
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
export function paxRecord(key: string, value: ByteString | string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length + 1
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length
  return `${length}${rest}`
}

/** GNU tar's spelling of `%` and `=` in the keyword of an attribute, whose name ends at the first `=`. */
export function xattrKeyword(name: ByteString): string {
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

export function padding(size: number): Uint8Array {
  return ZEROS.subarray(0, (BLOCK - (size % BLOCK)) % BLOCK)
}

/** The sum of all bytes of a header, its own field read as spaces. */
export function checksum(header: Uint8Array): number {
  let sum = 8 * 0x20
  for (let i = 0; i < 148; i++) sum += header[i] ?? 0
  for (let i = 156; i < BLOCK; i++) sum += header[i] ?? 0
  return sum
}

function octal(value: number): string {
  return value.toString(8).padStart(11, '0')
}

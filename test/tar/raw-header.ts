// Builds archives byte by byte, so that a test can say what no tar would write.

export type RawHeader = {
  readonly name?: string
  readonly type?: string
  readonly mode?: string
  readonly uid?: string
  readonly gid?: string
  readonly size?: number | string
  readonly mtime?: string
  readonly linkname?: string
  readonly magic?: string
  readonly major?: string
  readonly minor?: string
  readonly prefix?: string
  readonly checksum?: string
  /** Bytes laid over the header before its checksum is made. */
  readonly patch?: Readonly<Record<number, string>>
}

/** One header block; `patch` puts latin1 text at offsets. Numbers are octal text, as they stand in the archive. */
export function rawHeader(header: RawHeader): Buffer {
  const block = Buffer.alloc(512)
  const size = header.size ?? 0
  block.write(header.name ?? 'f', 0, 100, 'latin1')
  block.write(header.mode ?? '0000644\0', 100, 8, 'latin1')
  block.write(header.uid ?? '0000000\0', 108, 8, 'latin1')
  block.write(header.gid ?? '0000000\0', 116, 8, 'latin1')
  block.write(typeof size === 'string' ? size : `${size.toString(8).padStart(11, '0')}\0`, 124, 12, 'latin1')
  block.write(header.mtime ?? '00000000000\0', 136, 12, 'latin1')
  block.write(header.type ?? '0', 156, 1, 'latin1')
  block.write(header.linkname ?? '', 157, 100, 'latin1')
  block.write(header.magic ?? 'ustar\x0000', 257, 8, 'latin1')
  block.write(header.major ?? '0000000\0', 329, 8, 'latin1')
  block.write(header.minor ?? '0000000\0', 337, 8, 'latin1')
  block.write(header.prefix ?? '', 345, 155, 'latin1')
  for (const [offset, text] of Object.entries(header.patch ?? {})) block.write(text, Number(offset), 'latin1')
  block.write('        ', 148, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(header.checksum ?? `${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1')
  return block
}

/** A header and its body, padded; the size is that of the body unless the header gives one. */
export function rawMember(header: RawHeader, body: string | Buffer = ''): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body
  return Buffer.concat([rawHeader({ size: bytes.length, ...header }), padded(bytes)])
}

/** An extended header with these records; a value stands for itself, byte for byte. */
export function rawPax(records: readonly (readonly [string, string])[], type: 'x' | 'g' = 'x'): Buffer {
  return rawMember({ name: 'PaxHeader', type }, records.map(([key, value]) => rawRecord(key, value)).join(''))
}

export function rawRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length
  return `${length}${rest}`
}

export function rawArchive(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat([...parts, Buffer.alloc(1024)])
}

/** A number in base 256, `length` bytes wide. */
export function rawBase256(value: bigint, length: number): string {
  const bytes = Buffer.alloc(length)
  let rest = value
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  bytes[0] = value < 0n ? 0xff : 0x80
  return bytes.toString('latin1')
}

export async function* chunked(bytes: Uint8Array, length = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield await Promise.resolve(bytes.subarray(at, at + length))
}

export async function collect(chunks: AsyncIterable<Uint8Array> | Uint8Array): Promise<Buffer> {
  if (chunks instanceof Uint8Array) return Buffer.from(chunks)
  const all: Uint8Array[] = []
  for await (const chunk of chunks) all.push(Buffer.from(chunk))
  return Buffer.concat(all)
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)])
}

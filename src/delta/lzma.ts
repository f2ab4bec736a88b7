// Compresses bytes with others before them for hosts that have xz and no zstd: the old bytes are chunks that are not compressed.
//
// What `xz -d` gets is a stream of LZMA2 chunks (https://tukaani.org/xz/xz-file-format.txt). The host has those of the old bytes,
// so it puts them in itself: behind HEAD bytes of a frame (runtime/frames.sh). Here the new ones are made.
import { crc32 } from 'node:zlib'
import { ENOUGH, Matches, SHORTEST, type Match } from './matches.ts'
import { Coder, PROPERTIES } from './range-coder.ts'

/** The stream's header and its block's. */
export const HEAD = 24
/** BusyBox's xz takes no more for its window. */
const LARGEST_WINDOW = 64 << 20
/** Of a chunk that is not compressed, and of one that is. */
const CHUNK = { plain: 1 << 16, packed: (1 << 16) - 100, unpacked: (1 << 21) - 300 }

/** The same bytes give the same frame, part by part. */
export function* frameAfter(before: Uint8Array, bytes: Uint8Array): Generator<Buffer> {
  const power = [...Array(29).keys()].find((i) => windowOf(i) >= before.length + bytes.length) ?? 28
  const flags = [0, 0]
  const block = withSum([2, 0, 0x21, 1, power, 0, 0, 0])
  yield Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), withSum(flags), block])
  let size = before.length + 3 * Math.ceil(before.length / CHUNK.plain) + 1
  for (const chunk of chunksAfter(before, bytes, Math.min(LARGEST_WINDOW, windowOf(power)))) {
    size += chunk.length
    yield chunk
  }
  const index = withSum(padded([0, 1, ...number(block.length + size), ...number(before.length + bytes.length)]))
  const footer = Buffer.alloc(6)
  footer.writeUInt32LE(index.length / 4 - 1)
  const end = Buffer.alloc(1 + ((4 - (size % 4)) % 4))
  yield Buffer.concat([end, index, withSum([...footer]).subarray(6), footer, Buffer.from('YZ')])
}

/** By the number that stands for it. */
function windowOf(power: number): number {
  return (2 | (power & 1)) << ((power >> 1) + 11)
}

function withSum(bytes: readonly number[]): Buffer {
  const sum = Buffer.alloc(4)
  sum.writeUInt32LE(crc32(Buffer.from(bytes)))
  return Buffer.concat([Buffer.from(bytes), sum])
}

function padded(bytes: readonly number[]): number[] {
  return [...bytes, ...Array<number>((4 - (bytes.length % 4)) % 4).fill(0)]
}

/** Seven bits a byte, the lowest first. */
function number(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...number(Math.floor(value / 128))]
}

function* chunksAfter(before: Uint8Array, bytes: Uint8Array, window: number): Generator<Buffer> {
  const all = Buffer.concat([before, bytes])
  const coder = new Coder(all)
  const matches = new Matches(all, { from: before.length, window })
  let properties = [PROPERTIES]
  for (let at = before.length; at < all.length;) {
    const begun = at
    while (at < all.length && coder.size < CHUNK.packed && at - begun < CHUNK.unpacked) {
      const { length, distance } = choose(all, at, matches, coder.recent)
      coder.say(at, length, distance)
      at += length
      matches.upTo(at)
    }
    const packed = coder.end()
    const [unpackedSize, size] = [at - begun - 1, packed.length - 1]
    // the first sets all back, the window too where there is nothing in it
    const control = properties.length === 0 ? 0x80 : before.length > 0 ? 0xc0 : 0xe0
    const head = [control | (unpackedSize >> 16), unpackedSize >> 8, unpackedSize, size >> 8, size, ...properties]
    yield Buffer.concat([Buffer.from(head), packed])
    properties = []
  }
}

const LITERAL: Match = { length: 1, distance: -1 }

/** What is said at a place: as xz's fast mode, which looks one place ahead. Distance 0 is the byte before; -1 is none. */
function choose(all: Uint8Array, at: number, matches: Matches, recent: Int32Array): Match {
  const most = Math.min(ENOUGH, all.length - at)
  if (most < 2) return LITERAL
  let [again, which] = [0, 0]
  for (let i = 0; i < recent.length; i++) {
    const length = matches.agreeing(at, at - (recent[i] as number) - 1, most)
    if (length > again) [again, which] = [length, recent[i] as number]
  }
  if (again === ENOUGH) return { length: again, distance: which }
  const found = matches.find(at)
  const { length, distance } = found
  if (length === ENOUGH) return found
  const nearly = again + (distance > 1 << 15 ? 3 : distance > 1 << 9 ? 2 : 1)
  if (again >= 2 && nearly >= length) return { length: again, distance: which }
  if (length < SHORTEST) return again === 1 && which === recent[0] ? { length: 1, distance: which } : LITERAL
  matches.upTo(at + 1)
  const next = matches.find(at + 1)
  const nearer = (a: number, b: number): boolean => a < b >> 7
  if (
    next.length > length + 1 ||
    (next.length >= length && next.distance < distance) ||
    (next.length === length + 1 && !nearer(distance, next.distance)) ||
    (next.length + 1 >= length && nearer(next.distance, distance))
  )
    return LITERAL
  for (const before of recent) if (matches.agreeing(at + 1, at - before, length - 1) === length - 1) return LITERAL
  return found
}

// Finds the blocks of an old file in a new one by their signatures alone: the host has the old bytes, and they are not here.
//
// A block's signature is what runtime/signatures.sh can make of the words that od prints: a block is lines of 16 bytes, as
// if zeros were behind it, and a line is four little-endian words. The first three bytes are its hash, for which the lines
// are digits of a number modulo a prime; the others are the highest of the words' sum modulo 2^32, times an odd number. The
// sum is rolled over all places of the new file, and where it is known the hash is looked at.
import type { Cover } from './addresses.ts'
import { copiesOf, word, type Patch } from './streams.ts'

/** What a host is asked for: a signature of `width` bytes for each block of so many. */
export type Blocks = { readonly block: number; readonly width: number }
export type Signed = Blocks & { readonly size: number; readonly signatures: Uint8Array }

const LINE = 16
const PRIME = 16_777_213
const MULTIPLIER = 69_069
const [SECOND, THIRD, FOURTH] = [27_073, 51_157, 90_373] as const
const SPREAD = 40_503
const HASH_BYTES = 3
/** So many bits of a signature are left when all places of a file were compared with all blocks. */
const SPARE_BITS = 14

/** For an old file of `size` bytes that is looked for at so many places of a new one, in a push of so many such files. */
export function blocksFor(size: number, { places, files }: { places: number; files: number }): Blocks {
  const block = Math.ceil(Math.max(256, Math.min(700, Math.sqrt(15 * size)), Math.sqrt(size)) / LINE) * LINE
  const bits = Math.log2(Math.max(1, places) * Math.ceil(size / block) * files) + SPARE_BITS
  return { block, width: Math.max(4, Math.min(7, Math.ceil(bits / 8))) }
}

/** How long the signatures of a file are. */
export function signedSize(size: number, { block, width }: Blocks): number {
  return Math.ceil(size / block) * width
}

/** The new file as copies of blocks of the old one and what is new. Pure: it is right where the signatures are. */
export function matchBlocks(old: Signed, now: Uint8Array): Patch {
  const covers: Cover[] = []
  const known = new Known(old)
  let done = 0
  for (let found = known.firstIn(now, 0); found !== undefined; found = known.firstIn(now, done)) {
    let next = found.block + 1
    done = found.place + old.block
    for (; known.standsAt(next, now, done); next++) done += known.sizeOf(next)
    covers.push({ place: found.block * old.block, at: found.place, length: done - found.place })
  }
  // what is shorter than a block is looked for behind the one before it, and at the end
  const last = known.count - 1
  const place = now.length - known.sizeOf(last)
  if (known.sizeOf(last) < old.block && place >= done && known.standsAt(last, now, place))
    covers.push({ place: last * old.block, at: place, length: known.sizeOf(last) })
  return copiesOf(covers, now)
}

class Known {
  readonly count: number
  private readonly old: Signed
  /** By hash the first block that has it, plus one; of each block the next one. */
  private readonly heads: Int32Array
  private readonly others: Int32Array
  /** By the highest bits of a spread sum a bit: whether a block has it. */
  private readonly sums: Uint8Array
  private readonly shift: number

  constructor(old: Signed) {
    this.old = old
    this.count = Math.ceil(old.size / old.block)
    const bits = Math.ceil(Math.log2(this.count + 1))
    this.heads = new Int32Array(2 << bits)
    this.others = new Int32Array(this.count)
    // one place of a thousand is looked at in vain
    this.shift = 32 - Math.min(bits + 10, 8 * (old.width - HASH_BYTES))
    this.sums = new Uint8Array(2 ** (29 - this.shift))
    // of blocks that are alike the first is enough
    for (let i = Math.floor(old.size / old.block) - 1; i >= 0; i--) {
      const slot = this.hashOf(i) & (this.heads.length - 1)
      const head = this.heads[slot] as number
      this.others[i] = head > 0 && this.alike(head - 1, i) ? (this.others[head - 1] as number) : head
      this.heads[slot] = i + 1
      const key = this.spreadOf(i) >>> this.shift
      this.sums[key >>> 3] = (this.sums[key >>> 3] as number) | (1 << (key & 7))
    }
  }

  sizeOf(i: number): number {
    return Math.max(0, Math.min(this.old.block, this.old.size - i * this.old.block))
  }

  standsAt(i: number, now: Uint8Array, place: number): boolean {
    const size = this.sizeOf(i)
    if (size === 0 || place + size > now.length) return false
    const [hash, spread] = hashesOf(now, place, size)
    return this.fits(i, hash, spread)
  }

  /** The first place from `at` on where a whole block stands. */
  firstIn(now: Uint8Array, at: number): { readonly place: number; readonly block: number } | undefined {
    const { shift, old, sums } = this
    const { block } = old
    const end = now.length - block
    if (at > end) return undefined
    // of the windows that begin here and at the next three places, and what leaves and enters them four places on
    let [sum, second, third, fourth] = [0, 1, 2, 3].map((r) => (at + r > end ? 0 : sumOf(now, at + r, block))) as [number, number, number, number] // prettier-ignore
    let [leaving, entering] = [word(now, at), word(now, at + block)]
    for (let place = at; place <= end; place++) {
      const spread = Math.imul(sum, SPREAD)
      const key = spread >>> shift
      if (((sums[key >>> 3] as number) >>> (key & 7)) & 1) {
        const found = this.find(hashesOf(now, place, block)[0], spread)
        if (found !== -1) return { place, block: found }
      }
      const rolled = (sum + entering - leaving) | 0
      sum = second
      second = third
      third = fourth
      fourth = rolled
      leaving = (leaving >>> 8) | ((now[place + 4] as number) << 24)
      entering = (entering >>> 8) | ((now[place + block + 4] as number) << 24)
    }
    return undefined
  }

  private find(hash: number, spread: number): number {
    for (let i = this.heads[hash & (this.heads.length - 1)] as number; i > 0; i = this.others[i - 1] as number)
      if (this.fits(i - 1, hash, spread)) return i - 1
    return -1
  }

  private fits(i: number, hash: number, spread: number): boolean {
    const unsaid = 8 * (4 - (this.old.width - HASH_BYTES))
    return this.hashOf(i) === hash && this.spreadOf(i) >>> unsaid === spread >>> unsaid
  }

  private hashOf(i: number): number {
    return this.bytesOf(i, 0) >>> 8
  }

  /** Its highest bytes, and zeros where no more are said. */
  private spreadOf(i: number): number {
    return this.bytesOf(i, HASH_BYTES)
  }

  /** Four bytes of a signature, the highest first. */
  private bytesOf(i: number, from: number): number {
    const { signatures, width } = this.old
    let value = 0
    for (let k = from; k < from + 4; k++) value = (value << 8) | (k < width ? (signatures[i * width + k] as number) : 0)
    return value
  }

  private alike(a: number, b: number): boolean {
    return this.hashOf(a) === this.hashOf(b) && this.spreadOf(a) === this.spreadOf(b)
  }
}

/** The hash and the spread sum of so many bytes. */
function hashesOf(bytes: Uint8Array, at: number, size: number): [hash: number, spread: number] {
  const lines = size - (size % LINE)
  let hash = 0
  for (let i = at; i < at + lines; i += LINE) hash = behind(hash, bytes, i)
  let sum = sumOf(bytes, at, lines)
  if (lines < size) {
    const line = new Uint8Array(LINE)
    line.set(bytes.subarray(at + lines, at + size))
    hash = behind(hash, line, 0)
    sum = (sum + sumOf(line, 0, LINE)) | 0
  }
  return [hash, Math.imul(sum, SPREAD)]
}

/** No step of it is beyond 2^53, so that awk comes to the same. */
function behind(hash: number, bytes: Uint8Array, at: number): number {
  const [first, second] = [word(bytes, at) >>> 0, word(bytes, at + 4) >>> 0]
  const [third, fourth] = [word(bytes, at + 8) >>> 0, word(bytes, at + 12) >>> 0]
  const sum = hash * MULTIPLIER + first + second * SECOND + third * THIRD + fourth * FOURTH
  // sum % PRIME, twenty times as fast
  const left = sum - Math.floor(sum * (1 / PRIME)) * PRIME
  return left < 0 ? left + PRIME : left < PRIME ? left : left - PRIME
}

function sumOf(bytes: Uint8Array, at: number, size: number): number {
  let sum = 0
  for (let i = at; i < at + size; i += 4) sum = (sum + word(bytes, i)) | 0
  return sum
}

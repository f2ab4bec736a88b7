// Says bytes and matches as LZMA does: bit by bit, each by how likely it was in the places like it.
//
// See the specification in LZMA SDK, https://www.7-zip.org/sdk.html: three bits of the byte before tell kinds of literals
// apart, two bits of the place tell kinds of all else.

/** As the properties of a chunk say it. */
export const PROPERTIES = 2 * 45 + 3

const PLACES = 4
const STATES = 12
const HALF = 1024
const ADAPT = 5
const TOP = 2 ** 24
/** Where the chances of each kind of bit begin. */
const AT = tableOf({
  match: STATES * PLACES,
  rep: STATES,
  rep0: STATES,
  rep1: STATES,
  rep2: STATES,
  long: STATES * PLACES,
  slots: 4 * 64,
  near: 115,
  align: 16,
  length: 2 + 2 * PLACES * 8 + 256,
  lengthAgain: 2 + 2 * PLACES * 8 + 256,
  literals: 8 * 0x300,
})

export class Coder {
  /** The distances that were used last; 0 is the byte before. */
  readonly recent = new Int32Array(4)
  private readonly all: Uint8Array
  private readonly chances = new Uint16Array(AT.end).fill(HALF)
  private state = 0
  private range = 2 ** 32 - 1
  private low = 0
  private cached = 0
  private pending = 1
  private out = new Uint8Array(1 << 17)
  private filled = 0

  constructor(all: Uint8Array) {
    this.all = all
  }

  /** Bytes that the chunk has, about. */
  get size(): number {
    return this.filled + this.pending + 5
  }

  /** What stands at a place: a literal where the distance is -1, else as what stands that far before it. */
  say(at: number, length: number, distance: number): void {
    const place = at & (PLACES - 1)
    const { state } = this
    this.bit(AT.match + state * PLACES + place, distance === -1 ? 0 : 1)
    if (distance === -1) {
      this.literal(at)
      this.state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6
      return
    }
    const which = this.recent.indexOf(distance)
    this.bit(AT.rep + state, which === -1 ? 0 : 1)
    if (which === -1) {
      this.length(AT.length, length, place)
      this.distance(distance, Math.min(length - 2, 3))
      this.recent.copyWithin(1, 0, 3)
      this.state = state < 7 ? 7 : 10
    } else {
      this.bit(AT.rep0 + state, which === 0 ? 0 : 1)
      if (which === 0) this.bit(AT.long + state * PLACES + place, length === 1 ? 0 : 1)
      else {
        this.bit(AT.rep1 + state, which === 1 ? 0 : 1)
        if (which > 1) this.bit(AT.rep2 + state, which - 2)
      }
      if (length > 1) this.length(AT.lengthAgain, length, place)
      this.recent.copyWithin(1, 0, which)
      this.state = length === 1 ? (state < 7 ? 9 : 11) : state < 7 ? 8 : 11
    }
    this.recent[0] = distance
  }

  /** The chunk's bytes; the next begins with what is known of chances. */
  end(): Uint8Array {
    for (let i = 0; i < 5; i++) this.shift()
    const chunk = this.out.slice(0, this.filled)
    this.range = 2 ** 32 - 1
    this.low = this.cached = this.filled = 0
    this.pending = 1
    return chunk
  }

  private literal(at: number): void {
    const { all } = this
    const base = AT.literals + 0x300 * ((all[at - 1] ?? 0) >> 5)
    const byte = all[at] as number
    let symbol = 1
    if (this.state < 7) {
      for (let i = 7; i >= 0; i--) {
        const bit = (byte >> i) & 1
        this.bit(base + symbol, bit)
        symbol = (symbol << 1) | bit
      }
      return
    }
    // what stands where the last match would go on tells much
    let other = all[at - (this.recent[0] as number) - 1] as number
    let alike = 0x100
    for (let i = 7; i >= 0; i--) {
      other <<= 1
      const bit = (byte >> i) & 1
      this.bit(base + alike + (other & alike) + symbol, bit)
      symbol = (symbol << 1) | bit
      alike &= bit === 1 ? other : ~other
    }
  }

  private length(base: number, length: number, place: number): void {
    const rest = length - 2
    this.bit(base, rest < 8 ? 0 : 1)
    if (rest < 8) return this.tree(base + 2 + place * 8, rest, 3)
    this.bit(base + 1, rest < 16 ? 0 : 1)
    if (rest < 16) return this.tree(base + 2 + (PLACES + place) * 8, rest - 8, 3)
    this.tree(base + 2 + 2 * PLACES * 8, rest - 16, 8)
  }

  private distance(distance: number, kind: number): void {
    const high = 31 - Math.clz32(distance)
    const slot = distance < 4 ? distance : 2 * high + ((distance >> (high - 1)) & 1)
    this.tree(AT.slots + kind * 64, slot, 6)
    if (slot < 4) return
    const bits = (slot >> 1) - 1
    const start = (2 | (slot & 1)) << bits
    const rest = distance - start
    if (slot < 14) return this.treeFromLow(AT.near + start - slot - 1, rest, bits)
    for (let i = bits - 1; i >= 4; i--) {
      this.range = this.range >>> 1
      if ((rest >> i) & 1) this.low += this.range
      this.level()
    }
    this.treeFromLow(AT.align, rest & 15, 4)
  }

  private tree(base: number, value: number, bits: number): void {
    let symbol = 1
    for (let i = bits - 1; i >= 0; i--) {
      const bit = (value >> i) & 1
      this.bit(base + symbol, bit)
      symbol = (symbol << 1) | bit
    }
  }

  private treeFromLow(base: number, value: number, bits: number): void {
    let symbol = 1
    for (let i = 0; i < bits; i++) {
      const bit = (value >> i) & 1
      this.bit(base + symbol, bit)
      symbol = (symbol << 1) | bit
    }
  }

  private bit(which: number, bit: number): void {
    const chance = this.chances[which] as number
    const bound = (this.range >>> 11) * chance
    if (bit === 0) {
      this.range = bound
      this.chances[which] = chance + ((2 * HALF - chance) >> ADAPT)
    } else {
      this.low += bound
      this.range -= bound
      this.chances[which] = chance - (chance >> ADAPT)
    }
    this.level()
  }

  private level(): void {
    while (this.range < TOP) {
      this.range = (this.range << 8) >>> 0
      this.shift()
    }
  }

  /** The highest byte goes out once nothing can be carried into it. */
  private shift(): void {
    if (this.low < 0xff000000 || this.low >= 2 ** 32) {
      const carry = this.low >= 2 ** 32 ? 1 : 0
      for (let byte = this.cached; this.pending > 0; this.pending--, byte = 0xff) this.out[this.filled++] = byte + carry
      this.cached = Math.floor(this.low / TOP) & 0xff
    }
    this.pending++
    this.low = (this.low % TOP) * 256
  }
}

function tableOf<Name extends string>(sizes: Record<Name, number>): Record<Name | 'end', number> {
  let end = 0
  const begins: [string, number][] = Object.entries<number>(sizes).map(([name, size]) => [name, (end += size) - size])
  return Object.fromEntries([...begins, ['end', end]]) as Record<Name | 'end', number>
}

// Finds where bytes have stood before: among new ones those nearby, among old ones those that agree for long.
import { wordsOf } from './streams.ts'

export type Match = { readonly length: number; readonly distance: number }

/** What is found agrees for so many bytes, or more than so many do not matter. */
export const SHORTEST = 4
export const ENOUGH = 273
/** Old ones are looked for by so many bytes, and taken where they are longer by so many: they are far away. */
const OLD = 8
const FARTHER = 2
/** How many places are looked at, and how far back, which is a matter of memory. */
const DEPTH = 8
const NEAR = 1 << 22

/** Distance 0 is the byte before. */
export class Matches {
  private readonly all: Uint8Array
  private readonly words: DataView
  private readonly from: number
  private readonly window: number
  private readonly mask: number
  private readonly shifts: { readonly old: number; readonly now: number }
  /** By hash a place, plus one: any old one, the last new one; and of each new one the one before it. */
  private readonly olds: Int32Array
  private readonly heads: Int32Array
  private readonly others: Int32Array
  private done: number
  /** What was found last, for who looks ahead asks twice. */
  private last: { readonly at: number; readonly found: Match } | undefined

  /** New bytes begin at `from`; what is `window` bytes away or more is not found. */
  constructor(all: Uint8Array, { from, window }: { readonly from: number; readonly window: number }) {
    this.all = all
    this.words = wordsOf(all)
    this.from = this.done = from
    this.window = window
    const bits = (size: number): number => Math.max(8, Math.min(23, Math.ceil(Math.log2(size + 1))))
    this.shifts = { old: 32 - bits(from), now: 32 - bits(all.length - from) }
    this.olds = new Int32Array(1 << bits(from))
    this.heads = new Int32Array(1 << bits(all.length - from))
    this.mask = Math.min(NEAR, 1 << bits(all.length - from)) - 1
    this.others = new Int32Array(this.mask + 1)
    // from the end, so that the first of equal ones stays
    for (let at = from - OLD; at >= 0; at--) this.olds[this.hashOfOld(at)] = at + 1
  }

  /** How many bytes from both places on agree. */
  agreeing(at: number, other: number, most: number): number {
    if (other < 0) return 0
    const { all } = this
    let length = 0
    while (length < most && all[at + length] === all[other + length]) length++
    return length
  }

  /** The longest; its length is less than SHORTEST where there is none. */
  find(at: number): Match {
    if (this.last?.at !== at) this.last = { at, found: this.longest(at) }
    return this.last.found
  }

  private longest(at: number): Match {
    const { all, from, mask, others } = this
    const near = Math.min(this.window, mask)
    const most = Math.min(ENOUGH, all.length - at)
    let [length, distance] = [SHORTEST - 1, 0]
    if (most < SHORTEST) return { length: 0, distance }
    let depth = DEPTH
    for (let other = (this.heads[this.hash(at)] as number) - 1; other >= from && depth-- > 0 && at - other < near; other = (others[other & mask] as number) - 1) {
      if (all[other + length] !== all[at + length]) continue
      const agree = this.agreeing(at, other, most)
      if (agree > length) [length, distance] = [agree, at - other - 1]
      if (length === most) break
    } // prettier-ignore
    const old = at + OLD <= all.length ? (this.olds[this.hashOfOld(at)] as number) - 1 : -1
    if (old >= 0 && at - old < this.window) {
      const agree = this.agreeing(at, old, most)
      if (agree >= OLD && agree >= length + FARTHER) [length, distance] = [agree, at - old - 1]
    }
    return { length: length < SHORTEST ? 0 : length, distance }
  }

  /** All before this place is found from now on. */
  upTo(at: number): void {
    const end = Math.min(at, this.all.length - SHORTEST + 1)
    for (; this.done < end; this.done++) {
      const hash = this.hash(this.done)
      this.others[this.done & this.mask] = this.heads[hash] as number
      this.heads[hash] = this.done + 1
    }
  }

  private hash(at: number): number {
    return Math.imul(this.words.getInt32(at, true), 0x9e3779b1) >>> this.shifts.now
  }

  private hashOfOld(at: number): number {
    const first = Math.imul(this.words.getInt32(at, true), 0x9e3779b1)
    return Math.imul(first ^ (first >>> 15) ^ this.words.getInt32(at + 4, true), 0x85ebca77) >>> this.shifts.old
  }
}

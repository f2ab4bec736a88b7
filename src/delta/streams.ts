// Writes the streams of a patch: what is copied from where, how it differs, and what is new.
import { Shifts, biasAt, segmentsOf, type Cover, type Segment } from './addresses.ts'

/** The streams of one file. Numbers are BER compressed integers, which perl unpacks by `w*`. */
export type Patch = {
  /** Columns, each as long as there are covers: literals before it, its length, how far its old place is from the last one's end (zigzag), its differences. */
  readonly ops: Uint8Array
  /** Of each difference: bytes since the end of the last one of its cover. */
  readonly gaps: Uint8Array
  /** Of each difference a byte, how it is foretold (see KINDS). */
  readonly kinds: Uint8Array
  /** Of each difference that is not foretold: four bytes, to be added modulo 2^32. */
  readonly differences: Uint8Array
  readonly literals: Uint8Array
  /** The segments of the old file and of the new one; none where nothing is foretold. */
  readonly segments: readonly [readonly Segment[], readonly Segment[]]
}

/** In the order in which they are written and read. */
export const STREAMS = ['ops', 'gaps', 'kinds', 'differences', 'literals'] as const

export function sizeOfPatch(patch: Patch): number {
  return STREAMS.reduce((sum, name) => sum + patch[name].length, 0)
}

/** The host holds one cover in memory. */
const LONGEST = 1 << 20

/** Four bytes, the lowest first. */
export function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}

/** The same at any byte, several times as fast. */
export function wordsOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

/**
 * How the address in a word is read, by the number that says so: not at all; as relative to what follows it, as in code; as
 * relative to itself, as in tables for unwinding; as absolute; as relative to the first segment that is not at the beginning,
 * as in Go's tables of functions.
 */
const KINDS = [0, 1, 2, 3, 4] as const

/** Takes covers in the order of the new file: which bytes of it are much like which old ones. What lies between is literal. */
export type Covers = {
  cover(place: number, at: number, length: number): void
  end(): Patch
}

export class Streams implements Covers {
  private readonly old: Uint8Array
  private readonly now: Uint8Array
  private readonly covers: Cover[] = []
  private readonly segments: readonly [readonly Segment[], readonly Segment[]]
  /** Where no cover goes across, in either file. */
  private readonly edges: readonly [readonly number[], readonly number[]]

  constructor(old: Uint8Array, now: Uint8Array) {
    this.old = old
    this.now = now
    const both = [segmentsOf(old), segmentsOf(now)] as const
    this.segments = both[0].length > 0 && both[1].length > 0 ? both : [[], []]
    this.edges = [edgesOf(this.segments[0]), edgesOf(this.segments[1])]
  }

  cover(place: number, at: number, length: number): void {
    for (let done = 0; done < length;) {
      const most = Math.min(
        length - done,
        LONGEST,
        toEdge(this.edges[0], place + done),
        toEdge(this.edges[1], at + done),
      )
      this.covers.push({ place: place + done, at: at + done, length: most })
      done += most
    }
  }

  end(): Patch {
    const { old, now, segments } = this
    const columns = new Columns(now)
    const [gaps, kinds, differences] = [new Numbers(), new Numbers(), new Numbers()]
    const covers = this.covers.flatMap((cover) => withoutTail(cover, old, now))
    const foretell = segments[0].length > 0 ? foretellerOf(covers, segments, old) : undefined
    const [oldWords, newWords] = [wordsOf(old), wordsOf(now)]
    for (const cover of covers) {
      const { place, at, length } = cover
      let [count, last] = [0, 0]
      for (let i = 0; i < length;) {
        if (i + 4 <= length && oldWords.getInt32(place + i, true) === newWords.getInt32(at + i, true)) {
          i += 4
          continue
        }
        if (old[place + i] === now[at + i]) {
          i++
          continue
        }
        const told = foretell?.(cover, { from: last, to: i }, now)
        const start = told?.start ?? i
        gaps.add(start - last)
        if (foretell !== undefined) kinds.add(told?.kind ?? 0)
        if (told === undefined) differences.word((word(now, at + i) - word(old, place + i)) >>> 0)
        count++
        i = last = start + 4
      }
      columns.add(cover, count)
    }
    return {
      ...columns.end(),
      gaps: gaps.bytes(),
      kinds: kinds.bytes(),
      differences: differences.bytes(),
      segments,
    }
  }
}

/** A patch of covers in which nothing differs, in the order of the new file; the old bytes need not be at hand. */
export function copiesOf(covers: readonly Cover[], now: Uint8Array): Patch {
  const columns = new Columns(now)
  for (const { place, at, length } of covers)
    for (let i = 0; i < length; i += LONGEST)
      columns.add({ place: place + i, at: at + i, length: Math.min(LONGEST, length - i) }, 0)
  const none = new Uint8Array()
  return { ...columns.end(), gaps: none, kinds: none, differences: none, segments: [[], []] }
}

/** What is copied from where, and what is new between. */
class Columns {
  private readonly now: Uint8Array
  private readonly columns = [new Numbers(), new Numbers(), new Numbers(), new Numbers()] as const
  private readonly literals: Uint8Array[] = []
  private done = 0
  private oldEnd = 0

  constructor(now: Uint8Array) {
    this.now = now
  }

  add({ place, at, length }: Cover, differences: number): void {
    if (at > this.done) this.literals.push(this.now.subarray(this.done, at))
    const seek = place - this.oldEnd
    const values = [at - this.done, length, seek < 0 ? -2 * seek - 1 : 2 * seek, differences]
    for (const [i, value] of values.entries()) this.columns[i]?.add(value)
    this.done = at + length
    this.oldEnd = place + length
  }

  end(): Pick<Patch, 'ops' | 'literals'> {
    const ops = Buffer.concat(this.columns.map((column) => column.bytes()))
    return { ops, literals: Buffer.concat([...this.literals, this.now.subarray(this.done)]) }
  }
}

function edgesOf(segments: readonly Segment[]): number[] {
  return segments.flatMap(({ offset, size }) => [offset, offset + size]).toSorted((a, b) => a - b)
}

function toEdge(edges: readonly number[], offset: number): number {
  return (edges.find((edge) => edge > offset) ?? Infinity) - offset
}

/** No word reaches beyond its cover: of its last three bytes none differs, and what is cut off becomes literal. */
function withoutTail({ place, at, length }: Cover, old: Uint8Array, now: Uint8Array): Cover[] {
  let rest = length
  for (let i = Math.max(0, rest - 3); i < rest; i++)
    if (old[place + i] !== now[at + i]) {
      rest = i
      i = Math.max(0, rest - 3) - 1
    }
  return rest === 0 ? [] : [{ place, at, length: rest }]
}

type Foretold = { readonly start: number; readonly kind: number }

/** Finds a word at or up to three bytes before `to`, not before `from`, whose new value follows from what moved. */
function foretellerOf(
  covers: readonly Cover[],
  [old, now]: Patch['segments'],
  bytes: Uint8Array,
): (cover: Cover, where: { from: number; to: number }, next: Uint8Array) => Foretold | undefined {
  const shifts = new Shifts(covers, old, now)
  const base = baseOf(old)
  const baseShift = shifts.at(base)
  let likely = 1
  return ({ place, at, length }, { from, to }, next) => {
    const address = place + biasAt(old, place)
    const shift = at + biasAt(now, at) - address
    for (let start = to; start >= Math.max(from, to - 3); start--) {
      if (start + 4 > length) continue
      const value = word(bytes, place + start)
      const change = (word(next, at + start) - value) | 0
      const foretold = (kind: number): number => {
        switch (kind) {
          case 1:
            return shifts.at(address + start + 4 + value) - shift
          case 2:
            return shifts.at(address + start + value) - shift
          case 3:
            return shifts.at(value >>> 0)
          default:
            return shifts.at((value >>> 0) + base) - baseShift
        }
      }
      if ((foretold(likely) | 0) === change) return { start, kind: likely }
      for (const kind of KINDS)
        if (kind > 0 && kind !== likely && (foretold(kind) | 0) === change) {
          likely = kind
          return { start, kind }
        }
    }
    return undefined
  }
}

function baseOf(segments: readonly Segment[]): number {
  return segments.find(({ offset }) => offset > 0)?.address ?? 0
}

/** A growing list of numbers as bytes. */
class Numbers {
  private buffer = new Uint8Array(256)
  private size = 0

  /** As a BER compressed integer: seven bits a byte, the highest first. */
  add(value: number): void {
    this.room()
    let shift = 1
    while (value >= shift * 128) shift *= 128
    for (; shift > 1; shift /= 128) this.buffer[this.size++] = (Math.floor(value / shift) % 128) | 128
    this.buffer[this.size++] = value % 128
  }

  /** As four bytes, the lowest first. */
  word(value: number): void {
    this.room()
    for (let shift = 0; shift < 32; shift += 8) this.buffer[this.size++] = value >>> shift
  }

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.size)
  }

  private room(): void {
    if (this.size + 10 <= this.buffer.length) return
    const larger = new Uint8Array(this.buffer.length * 2)
    larger.set(this.buffer)
    this.buffer = larger
  }
}

// Writes the streams of a patch: what is copied from where, how it differs, and what is new.

/** The streams of one file. Numbers are BER compressed integers, which perl unpacks by `w*`. */
export type Patch = {
  /** Columns, each as long as there are covers: literals before it, its length, how far its old place is from the last one's end (zigzag), its differences. */
  readonly ops: Uint8Array
  /** Of each difference: bytes since the end of the last one of its cover. */
  readonly gaps: Uint8Array
  /** Of each difference: four bytes, to be added modulo 2^32. */
  readonly differences: Uint8Array
  readonly literals: Uint8Array
}

export function sizeOfPatch({ ops, gaps, differences, literals }: Patch): number {
  return ops.length + gaps.length + differences.length + literals.length
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

/** Takes covers in the order of the new file; what lies between them is literal. */
export class Streams {
  private readonly old: Uint8Array
  private readonly now: Uint8Array
  private readonly columns = [new Numbers(), new Numbers(), new Numbers(), new Numbers()] as const
  private readonly gaps = new Numbers()
  private readonly differences = new Numbers()
  private readonly literals: Uint8Array[] = []
  private done = 0
  private oldEnd = 0

  constructor(old: Uint8Array, now: Uint8Array) {
    this.old = old
    this.now = now
  }

  cover(place: number, at: number, length: number): void {
    for (let i = 0; i < length; i += LONGEST) this.piece(place + i, at + i, Math.min(LONGEST, length - i))
  }

  private piece(place: number, at: number, length: number): void {
    const { old, now, gaps, differences } = this
    let count = 0
    let last = 0
    for (let i = 0; i < length;) {
      if (old[place + i] === now[at + i]) {
        i++
        continue
      }
      // no word reaches beyond its cover: what is left becomes literal
      if (i + 4 > length) length = i
      else {
        gaps.add(i - last)
        differences.word((word(now, at + i) - word(old, place + i)) >>> 0)
        count++
        i += 4
        last = i
      }
    }
    if (length === 0) return
    const [literals, lengths, seeks, counts] = this.columns
    if (at > this.done) this.literals.push(this.now.subarray(this.done, at))
    literals.add(at - this.done)
    lengths.add(length)
    const seek = place - this.oldEnd
    seeks.add(seek < 0 ? -2 * seek - 1 : 2 * seek)
    counts.add(count)
    this.done = at + length
    this.oldEnd = place + length
  }

  end(): Patch {
    this.literals.push(this.now.subarray(this.done))
    return {
      ops: Buffer.concat(this.columns.map((column) => column.bytes())),
      gaps: this.gaps.bytes(),
      differences: this.differences.bytes(),
      literals: Buffer.concat(this.literals),
    }
  }
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

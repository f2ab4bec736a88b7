// Where the pieces of a program are loaded, and by how much each has moved: from that an address that moved can be foretold.
//
// In a program that was built again most differences are addresses of what moved, relative to where they stand or absolute.
// Both sides know which old piece became which new one, so a difference need not be said where it follows from that
// (an idea of Courgette's, https://www.chromium.org/developers/design-documents/software-updates-courgette/, without
// disassembling anything).

/** A part of a file that is loaded: bytes from `offset` on stand at `address`. */
export type Segment = { readonly offset: number; readonly address: number; readonly size: number }

/** Old bytes from `place` on are new ones from `at` on. */
export type Cover = { readonly place: number; readonly at: number; readonly length: number }

/** Shifts are told for so many bytes each. */
const GRAIN_BITS = 4
/** Programs are loaded near 0, or a little above. */
const HIGHEST = 256 << 20

const LOAD = 1
const MOST_SEGMENTS = 16

/** Of an ELF file with the lowest byte first (https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html); none of any other. */
export function segmentsOf(file: Uint8Array): Segment[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || file[5] !== 1) return []
  const wide = file[4] === 2
  const word = (at: number): number => (wide ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true))
  const table = word(wide ? 32 : 28)
  const [size, count] = [view.getUint16(wide ? 54 : 42, true), view.getUint16(wide ? 56 : 44, true)]
  const segments: Segment[] = []
  for (let i = 0; i < count && table + (i + 1) * size <= file.length; i++) {
    const at = table + i * size
    if (view.getUint32(at, true) !== LOAD) continue
    segments.push({ offset: word(at + (wide ? 8 : 4)), address: word(at + (wide ? 16 : 8)), size: word(at + (wide ? 32 : 16)) }) // prettier-ignore
  }
  const good = segments.every(({ offset, address, size: length }) => offset + length <= file.length && address + length < HIGHEST) // prettier-ignore
  return good && segments.length <= MOST_SEGMENTS ? segments.toSorted((a, b) => a.offset - b.offset) : []
}

/** What is added to an offset to get its address; that of the segment before for what is not loaded. */
export function biasAt(segments: readonly Segment[], offset: number): number {
  let bias = 0
  for (const segment of segments) if (offset >= segment.offset) bias = segment.address - segment.offset
  return bias
}

/** By how much what stood at an old address has moved. */
export class Shifts {
  private readonly shifts: Int32Array
  private readonly last: number

  /** Each piece is told the host in the same order: first all from one to the next, then the longest last. */
  constructor(covers: readonly Cover[], old: readonly Segment[], now: readonly Segment[]) {
    const top = Math.max(0, ...old.map(({ address, size }) => address + size))
    this.last = top >> GRAIN_BITS
    this.shifts = new Int32Array(this.last + 1)
    const pieces = covers.flatMap(({ place, at, length }) => {
      if (!old.some(({ offset, size }) => place >= offset && place < offset + size)) return []
      const address = place + biasAt(old, place)
      return [{ address, length, shift: at + biasAt(now, at) - address }]
    })
    const inOrder = pieces.toSorted((a, b) => a.address - b.address)
    for (const [i, { address, shift }] of inOrder.entries())
      this.shifts.fill(shift, i === 0 ? 0 : grain(address), grain(inOrder[i + 1]?.address ?? Infinity))
    for (const { address, length, shift } of pieces.toSorted((a, b) => a.length - b.length))
      this.shifts.fill(shift, grain(address), grain(address + length))
  }

  /** Of what is nowhere, the shift of what is nearest. */
  at(address: number): number {
    const { shifts, last } = this
    return shifts[address < 0 ? 0 : address > last << GRAIN_BITS ? last : address >> GRAIN_BITS] as number
  }
}

function grain(address: number): number {
  return Math.ceil(address / (1 << GRAIN_BITS))
}

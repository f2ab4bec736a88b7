// Files with holes: reads the four maps that GNU tar writes, and presents the contents with their zeros.
import type { ByteString } from '../model/bytes.ts'
import { isZero, tarError, type Cursor, type Place } from './cursor.ts'
import { BLOCK, decodeNumber } from './header.ts'
import type { PaxRecord } from './pax.ts'

/** Data at `offset` of the file; the segments lie one behind the other in the archive. */
export type Segment = { readonly offset: number; readonly length: number }
export type Sparse = { readonly size: number; readonly segments: readonly Segment[] }
export type PaxSparse = { readonly name?: ByteString; readonly size: number } & (
  | { readonly map: 'in contents' }
  | { readonly map: 'given'; readonly numbers: readonly number[] }
)

const MOST_SEGMENTS = 1 << 18
const ZEROS = new Uint8Array(256 * 1024)

/** https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html Throws E_TAR_SPARSE. */
export function paxSparse(records: readonly PaxRecord[], place: Place): PaxSparse | undefined {
  if (records.length === 0) return undefined
  const only = new Map(records)
  const name = only.get('name')
  const known = {
    ...(name === undefined ? {} : { name }),
    size: number(only.get('realsize') ?? only.get('size'), place),
  }
  if (name === '' || name?.includes('\0') === true) throw refused(place, 'the name is empty or contains a NUL byte')
  const version = `${only.get('major') ?? '0'}.${only.get('minor') ?? '1'}`
  if (version === '1.0') return { ...known, map: 'in contents' }
  if (version !== '0.1' && version !== '0.0') throw refused(place, `the version is not 0.0, 0.1 or 1.0`)
  const map = only.get('map')
  const pairs = records.filter(([key]) => key === 'offset' || key === 'numbytes')
  if (map !== undefined && pairs.length > 0) throw refused(place, 'there are two maps')
  if (pairs.some(([key], i) => key !== (i % 2 === 0 ? 'offset' : 'numbytes')))
    throw refused(place, 'offsets and lengths do not alternate')
  const words = map === undefined ? pairs.map(([, value]) => value) : map === '' ? [] : map.split(',')
  const numbers = words.map((word) => number(word, place))
  const blocks = only.get('numblocks')
  if (blocks !== undefined && number(blocks, place) * 2 !== numbers.length)
    throw refused(place, 'the map is not as long as announced')
  return { ...known, map: 'given', numbers }
}

/** Version 1.0: the numbers stand before the data, a line each, filled up to a block. Moves the cursor behind them. */
export async function readMap(cursor: Cursor, stored: number): Promise<number[]> {
  const { place } = cursor
  const numbers: number[] = []
  let rest = ''
  for (let left = stored; ; left -= BLOCK) {
    if (left < BLOCK) throw refused(place, 'the map is longer than the contents')
    const lines = (rest + Buffer.from(await cursor.need(BLOCK)).toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      numbers.push(number(line, place))
      const expected = 1 + 2 * (numbers[0] ?? 0)
      if (expected > 2 * MOST_SEGMENTS) throw refused(place, 'it has too many segments')
      if (numbers.length === expected) {
        return numbers.slice(1)
      }
    }
  }
}

/** Old GNU tar: four pairs in the header, more in blocks behind it. Moves the cursor behind those. */
export async function readOldMap(cursor: Cursor, header: Buffer): Promise<{ size: number; numbers: number[] }> {
  const { place } = cursor
  const size = decodeNumber(header, 483, 12)
  const numbers = pairsOf(header, 386, 4)
  let extended = header[482]
  while (extended !== 0) {
    const block = Buffer.from(await cursor.need(BLOCK))
    numbers.push(...pairsOf(block, 0, 21))
    extended = block[504]
    if (numbers.length > 2 * MOST_SEGMENTS) throw refused(place, 'it has too many segments')
  }
  if (!Number.isSafeInteger(size) || size < 0) throw refused(place, 'its size is no number')
  return { size, numbers }
}

/** Checks that the segments rise, do not overlap, lie within the file and are all that is stored. Throws E_TAR_SPARSE. */
export function makeSparse(size: number, numbers: readonly number[], check: { stored: number; place: Place }): Sparse {
  const segments: Segment[] = []
  let end = 0
  let stored = 0
  if (numbers.length % 2 !== 0) throw refused(check.place, 'the map has an offset without a length')
  for (let i = 0; i < numbers.length; i += 2) {
    const offset = numbers[i] ?? NaN
    const length = numbers[i + 1] ?? NaN
    if (!(offset >= end && length >= 0 && offset + length <= size))
      throw refused(check.place, 'its segments overlap, or lie outside of it')
    end = offset + length
    stored += length
    if (length > 0) segments.push({ offset, length })
  }
  if (stored !== check.stored) throw refused(check.place, 'its segments are not as long as what is stored')
  return { size, segments }
}

/** The whole contents, given how to read `length` stored bytes at `offset` of what is stored; called in rising order. */
export async function* expandSparse(
  sparse: Sparse,
  read: (offset: number, length: number) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let end = 0
  let stored = 0
  for (const { offset, length } of sparse.segments) {
    yield* zeros(offset - end)
    yield* read(stored, length)
    stored += length
    end = offset + length
  }
  yield* zeros(sparse.size - end)
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length) yield left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS
}

function pairsOf(block: Buffer, offset: number, count: number): number[] {
  const numbers: number[] = []
  for (let at = offset; at < offset + 24 * count; at += 24) {
    if (isZero(block.subarray(at, at + 24))) break
    numbers.push(decodeNumber(block, at, 12), decodeNumber(block, at + 12, 12))
  }
  return numbers
}

function number(text: string | undefined, place: Place): number {
  if (text === undefined || !/^[0-9]{1,15}$/.test(text))
    throw refused(place, 'its map holds something that is no number')
  return Number(text)
}

function refused(place: Place, why: string): Error {
  return tarError('E_TAR_SPARSE', place, `cannot use the sparse file: ${why}`, 'make the archive without tar -S')
}

// varve's own add-delta: a new file as aligned copies of an old one that tolerate differences, the differences, and the rest.
//
// An executable that was built again is the old one with pieces moved, and in them addresses that moved by the same few
// amounts. So copies run on through mismatches, as bsdiff's do (https://www.daemonology.net/papers/bsdiff.pdf), but what
// differs in them is kept as a sparse list: how far to the next difference, and by how much the 32-bit little-endian word
// there differs. What each stream holds is alike, and all files' streams are compressed together by the delta's codec.

import { Streams, wordsOf, type Covers, type Patch } from './streams.ts'

const WINDOW = 16
/** Every so many bytes of the old file are to be found again. */
const STEP = { usual: 2, quick: 16 }
/** A cover ends where it has lost so many points since its best: one for a byte that agrees, minus one for one that does not. */
const PATIENCE = 24
const LEAST_SCORE = 24
const RECENT = 4
/** How far candidates are followed before one is chosen. */
const GLANCE = 16384
/** A byte that differs weighs as much as so many that agree; from so much on a cover is looked at again. */
const DIFFERS = 6
const DENSE = 40
/** How many bytes are compared to find a better place, and by how many more it must agree. */
const AHEAD = 64
const GAIN = 12

/**
 * Pure: the same two files give the same patch. Memory: 2 to 4 bytes for each of `old`, 256 MiB at most. A `quick` one takes half
 * the time, for a third more bytes.
 */
export function makePatch(
  old: Uint8Array,
  now: Uint8Array,
  { quick = false, writer = new Streams(old, now) }: { readonly quick?: boolean; readonly writer?: Covers } = {},
): Patch {
  const both = { old, now, oldWords: wordsOf(old), newWords: wordsOf(now) }
  const index = new Index(both, quick ? STEP.quick : STEP.usual)
  const recent = new Int32Array(RECENT)
  let next = 0
  let done = 0
  let missed = 0
  for (let at = 0; at + WINDOW <= now.length;) {
    const found = index.find(at)
    if (found === -1) {
      // what has nothing in common is passed over faster and faster
      at += 1 + (missed++ >> 9)
      continue
    }
    let place = found
    let forward = reach(both, place, at)
    for (const offset of recent) {
      const other = at + offset
      if (offset === 0 || other === found || other < 0 || other >= old.length) continue
      const length = reach(both, other, at)
      if (length > forward) [place, forward] = [other, length]
    }
    const backward = reachBack(old, now, { place, at, stop: done })
    if (forward + backward < LEAST_SCORE) {
      at++
      continue
    }
    const length = quick ? forward : follow({ ...both, index, recent }, place, at)
    writer.cover(place - backward, at - backward, length + backward)
    if (!recent.includes(place - at)) recent[next++ % RECENT] = place - at
    at += length
    done = at
    missed = 0
  }
  return writer.end()
}

/** Both files, also as words that may begin at any byte. */
type Both = {
  readonly old: Uint8Array
  readonly now: Uint8Array
  readonly oldWords: DataView
  readonly newWords: DataView
}

/** Where 16 bytes of the old file are found again. */
class Index {
  private readonly both: Both
  private readonly table: Int32Array
  private readonly shift: number

  constructor(both: Both, step: number) {
    const { length } = both.old
    const bits = Math.max(8, Math.min(26, Math.ceil(Math.log2(Math.max(1, length / step)))))
    const shift = 32 - bits
    const table = new Int32Array(1 << bits)
    // from the end, so that the first of equal ones stays
    for (let at = (length - WINDOW) & -step; at >= 0; at -= step) table[hash(both.oldWords, at) >>> shift] = at + 1
    this.both = both
    this.table = table
    this.shift = shift
  }

  find(at: number): number {
    const { oldWords, newWords } = this.both
    const place = (this.table[hash(newWords, at) >>> this.shift] ?? 0) - 1
    if (place < 0) return -1
    for (let i = 0; i < WINDOW; i += 4)
      if (oldWords.getInt32(place + i, true) !== newWords.getInt32(at + i, true)) return -1
    return place
  }
}

function hash(words: DataView, at: number): number {
  let sum = Math.imul(words.getInt32(at, true), 0x9e3779b1)
  sum = Math.imul(sum ^ (sum >>> 15) ^ words.getInt32(at + 4, true), 0x85ebca77)
  sum = Math.imul(sum ^ (sum >>> 13) ^ words.getInt32(at + 8, true), 0xc2b2ae3d)
  sum = Math.imul(sum ^ (sum >>> 16) ^ words.getInt32(at + 12, true), 0x27d4eb2f)
  return sum ^ (sum >>> 15)
}

/** How far both go on alike at a glance, through mismatches, up to the last byte that was worth it. */
function reach({ old, now, oldWords, newWords }: Both, place: number, at: number): number {
  const most = Math.min(GLANCE, old.length - place, now.length - at)
  let score = 0
  let best = 0
  let length = 0
  for (let i = 0; i < most; i++) {
    if (score === best && i + 4 <= most && oldWords.getInt32(place + i, true) === newWords.getInt32(at + i, true)) {
      score = best = score + 4
      length = i + 4
      i += 3
    } else if (old[place + i] === now[at + i]) {
      if (++score > best) {
        best = score
        length = i + 1
      }
    } else if (--score < best - PATIENCE) break
  }
  return length
}

function reachBack(
  old: Uint8Array,
  now: Uint8Array,
  { place, at, stop }: { place: number; at: number; stop: number },
): number {
  const most = Math.min(place, at - stop)
  let score = 0
  let best = 0
  let length = 0
  for (let i = 1; i <= most; i++) {
    if (old[place - i] === now[at - i]) {
      if (++score > best) {
        best = score
        length = i
      }
    } else if (--score < best - PATIENCE) break
  }
  return length
}

/**
 * How far a cover goes: while it is worth it, and, where it runs through many differences, until another place of the old
 * file fits better.
 */
function follow(
  { index, recent, ...both }: Both & { readonly index: Index; readonly recent: Int32Array },
  place: number,
  at: number,
): number {
  const { old, now, oldWords, newWords } = both
  const end = Math.min(old.length - place, now.length - at)
  let [score, top, length] = [0, 0, 0]
  let dense = 0
  for (let i = 0; i < end; i++) {
    if (
      score === top &&
      dense < DENSE &&
      i + 4 <= end &&
      oldWords.getInt32(place + i, true) === newWords.getInt32(at + i, true)
    ) {
      score = top = score + 4
      length = i + 4
      dense = Math.max(0, dense - 4)
      i += 3
      continue
    }
    if (old[place + i] === now[at + i]) {
      if (++score > top) {
        top = score
        length = i + 1
      }
      if (dense > 0) dense--
    } else {
      if (--score < top - PATIENCE) break
      dense += DIFFERS
    }
    if (dense < DENSE || i < WINDOW) continue
    dense = DENSE
    if (at + i + WINDOW > now.length) break
    let other = index.find(at + i)
    if (other === -1 && (i & 15) === 0) other = recentFit({ old, now, recent }, place + i, at + i)
    if (other === -1 || other === place + i) continue
    if (agreeing(old, now, other, at + i) < agreeing(old, now, place + i, at + i) + GAIN) continue
    // back to where the other one begins to be better
    let [gain, most, cut] = [0, 0, i]
    for (let k = i - 1; k > WINDOW && k > i - AHEAD && other - (i - k) >= 0; k--) {
      gain += (old[other - (i - k)] === now[at + k] ? 1 : 0) - (old[place + k] === now[at + k] ? 1 : 0)
      if (gain > most) [most, cut] = [gain, k]
    }
    return cut
  }
  return length
}

/** The place by one of the recent covers' offsets where most agrees; -1 where that is not more than at `place`. */
function recentFit(
  { old, now, recent }: { old: Uint8Array; now: Uint8Array; recent: Int32Array },
  place: number,
  at: number,
): number {
  let best = agreeing(old, now, place, at)
  let other = -1
  for (const offset of recent) {
    const agree = offset === 0 ? 0 : agreeing(old, now, at + offset, at)
    if (agree > best) [best, other] = [agree, at + offset]
  }
  return other
}

/** How many of the next bytes agree. */
function agreeing(old: Uint8Array, now: Uint8Array, place: number, at: number): number {
  if (place < 0) return 0
  let count = 0
  const most = Math.min(AHEAD, old.length - place, now.length - at)
  for (let i = 0; i < most; i++) if (old[place + i] === now[at + i]) count++
  return count
}

// The jobs that take a processor long, as data, so that any thread can do them.
import { matchBlocks, type Signed } from './blocks.ts'
import { makeCopies } from './copies.ts'
import { frameAfter } from './lzma.ts'
import { makePatch } from './patch.ts'
import { STREAMS, type Patch } from './streams.ts'
import { packed, packedAfter, sizeAfter } from './zstd.ts'

/** What decodes frames. */
export type FrameTool = 'zstd' | 'xz'

export type Job =
  /** Compresses bytes by zstd. */
  | { readonly kind: 'compress'; readonly bytes: Uint8Array; readonly level: number }
  /** The same with the bytes before them as the dictionary, or by xz, which has no levels here. */
  | {
      readonly kind: 'after'
      readonly before: Uint8Array
      readonly bytes: Uint8Array
      readonly level: number
      readonly tool: FrameTool
    }
  /** Whether a file is certainly best in a frame, by the middles of both: see glanceAt. */
  | { readonly kind: 'glance'; readonly before: Uint8Array; readonly now: Uint8Array; readonly size: number }
  /** How it is said best after its old one; `guess` is what a glance told. */
  | {
      readonly kind: 'compare'
      readonly before: Uint8Array
      readonly now: Uint8Array
      readonly guess?: Guess
      readonly can: { readonly prefix: boolean; readonly patch: boolean; readonly copies: boolean }
      readonly quick: boolean
    }
  /** The same of what the host said of the old one. */
  | { readonly kind: 'match'; readonly signed: Signed; readonly now: Uint8Array }

/** A patch, the old contents before it in a frame, or whole. */
export type Said =
  | { readonly way: 'patch'; readonly patch: Patch }
  /** In a frame of its own at level 6 it would have so many bytes, where that was measured. */
  | { readonly way: 'prefix'; readonly size?: number }
  | { readonly way: 'whole' }

export type Answer<Kind extends Job['kind']> = Kind extends 'compare' | 'match'
  ? Said
  : Kind extends 'glance'
    ? Guess
    : Kind extends 'after'
      ? number
      : Uint8Array

/** Of a frame `give` gets the parts as they are made, and the answer is their size. */
export function answer(job: Job, give: (part: Uint8Array) => void): Said | Guess | Uint8Array | number {
  switch (job.kind) {
    case 'compress':
      return packed(job.bytes, job.level)
    case 'after':
      return afterOld(job, give)
    case 'glance':
      return guessed(job)
    case 'compare':
      return compare(job)
    case 'match':
      return match(job)
  }
}

export function sizeOf(job: Job): number {
  const { length } = 'now' in job ? job.now : job.bytes
  return 'before' in job ? length + job.before.length : length
}

/** What takes less time than to hand it over. */
export function isObvious(job: Job): boolean {
  return sizeOf(job) < TINY
}

/** The words about a patch: two paths, five numbers, a header for the metadata. */
const WORDS = 60
/** What the final effort makes smaller than the quick measure here: of a prefix, of a patch. */
const MORE = { prefix: 0.77, patch: 0.92 }

/** What is no program and no larger is not worth measuring: old contents before it are never much worse. */
const SMALL = 256 << 10

/** The job that tells whether a frame is best, which old contents make possible; true where it is that without one, false where only comparing tells. */
export function glanceAt(before: Uint8Array, now: Uint8Array): Extract<Job, { kind: 'glance' }> | boolean {
  if (isTrained(before)) return false
  if (now.length <= SMALL) return !isProgram(now)
  if (now.length < SAMPLE) return false
  return {
    kind: 'glance',
    before: Uint8Array.from(middleOf(before, AROUND * SAMPLE)),
    now: Uint8Array.from(middleOf(now, SAMPLE)),
    size: now.length,
  }
}

/** So much is new that a frame is best. */
export function isMuchNew({ left }: Guess): boolean {
  return left > MUCH && left < NOTHING
}

function compare({ before, now, can, quick, guess: told }: Extract<Job, { kind: 'compare' }>): Said {
  const fits = can.prefix && !isTrained(before)
  const guess = told ?? { plain: guessOf(middleOf(now, TINY), now.length), after: fits ? 0 : Infinity, left: 0 }
  const patch =
    guess.left > MUCH
      ? undefined
      : can.patch
        ? makePatch(before, now, { quick })
        : can.copies
          ? makeCopies(before, now, quick)
          : undefined
  const asPatch = patch === undefined ? Infinity : costOf(patch)
  const isFar = (size: number): boolean => size > FAR * asPatch
  // a patch that is this small is not beaten, and what large files cost to compress is saved
  const after = asPatch <= now.length / 50 ? Infinity : guess.after
  const size = !fits || isFar(MORE.prefix * after) ? after : sizeAfter(before, now)
  const asPrefix = MORE.prefix * size
  const plain = isFar(guess.plain) ? guess.plain : plainCost(now)
  if (patch !== undefined && asPatch < Math.min(asPrefix, plain)) return { way: 'patch', patch }
  return asPrefix < plain ? { way: 'prefix', size } : { way: 'whole' }
}

/** Bytes from the middle that tell how much of a large file is new; a part of them does where that is clear. */
const SAMPLE = 1 << 20
const PART = SAMPLE / 4
/** So many times as many old bytes are looked at, since pieces move. */
const AROUND = 4
/** Of smaller files, and those that are compared without a glance, what they are without old ones is guessed from so many. */
const TINY = 64 << 10
/**
 * Where a prefix leaves more than this of what compression alone does, it beats a patch: over 258 programs, 8 of
 * them of another release and the others of security updates of Debian and one more, patches won at 0.46 at most, and all those
 * of the other release lost, at 0.58 and more.
 */
const MUCH = 0.5
const UNCLEAR = 0.15
/** Where it leaves more than this, it may be no use. */
const NOTHING = 0.9
/** What the final effort leaves of what level 1 does. */
const GUESSED = 0.83
/** What is guessed to be so many times as large is not measured. */
const FAR = 2

export type Guess = {
  /** Bytes of the file as it is, and after its old one: the quick measures. */
  readonly plain: number
  readonly after: number
  /** What the latter leaves of the former; 0 where that was not looked at. */
  readonly left: number
}

function guessed({ before, now, size }: Extract<Job, { kind: 'glance' }>): Guess {
  const guess = (bytes: number): Guess => {
    const sample = middleOf(now, bytes)
    const plain = guessOf(sample, size)
    const after = (sizeAfter(middleOf(before, AROUND * bytes), sample) * size) / sample.length
    return { plain, after, left: (PLAIN * after) / plain }
  }
  const first = guess(PART)
  return Math.abs(first.left - MUCH) < UNCLEAR ? guess(SAMPLE) : first
}

/** Of a file of so many bytes, by some of them. */
function guessOf(sample: Uint8Array, size: number): number {
  return (GUESSED * packed(sample, 1).length * size) / Math.max(1, sample.length)
}

function middleOf(bytes: Uint8Array, size: number): Uint8Array {
  const start = Math.max(0, (bytes.length - size) >> 1)
  return bytes.subarray(start, start + size)
}

function afterOld(
  { before, bytes, level, tool }: Extract<Job, { kind: 'after' }>,
  give: (part: Uint8Array) => void,
): number {
  let size = 0
  const counted = (part: Uint8Array): void => {
    size += part.length
    give(part)
  }
  if (tool === 'xz') for (const part of frameAfter(before, bytes)) counted(part)
  else packedAfter(before, bytes, level, counted)
  return size
}

function match({ signed, now }: Extract<Job, { kind: 'match' }>): Said {
  const patch = matchBlocks(signed, now)
  return costOf(patch) < plainCost(now) ? { way: 'patch', patch } : { way: 'whole' }
}

/** The level at which sizes are compared. */
const QUICK = 5

function costOf(patch: Patch): number {
  return WORDS + MORE.patch * packed(joined(patch), QUICK).length
}

/** What the final effort leaves of it. */
const PLAIN = 0.95

function plainCost(now: Uint8Array): number {
  return PLAIN * packed(now, QUICK).length
}

function joined(patch: Patch): Uint8Array {
  return Buffer.concat(STREAMS.map((name) => patch[name]))
}

/** zstd takes what begins so for a dictionary that was trained (RFC 8878, 5). */
function isTrained(bytes: Uint8Array): boolean {
  return bytes[0] === 0x37 && bytes[1] === 0xa4 && bytes[2] === 0x30 && bytes[3] === 0xec
}

/** ELF, in which addresses move when it is built again. */
function isProgram(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

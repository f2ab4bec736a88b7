// The jobs that take a processor long, as data, so that any thread can do them.
import { matchBlocks, type Signed } from './blocks.ts'
import { makeCopies } from './copies.ts'
import { makePatch } from './patch.ts'
import { STREAMS, type Patch } from './streams.ts'
import { packed, packedAfter } from './zstd.ts'

export type Job =
  /** Compresses bytes by zstd. */
  | { readonly kind: 'compress'; readonly bytes: Uint8Array; readonly level: number }
  /** The same with the bytes before them as the dictionary. */
  | { readonly kind: 'after'; readonly before: Uint8Array; readonly bytes: Uint8Array; readonly level: number }
  /** How a file is said best after its old one. */
  | {
      readonly kind: 'compare'
      readonly before: Uint8Array
      readonly now: Uint8Array
      readonly can: { readonly prefix: boolean; readonly patch: boolean; readonly copies: boolean }
      readonly quick: boolean
    }
  /** The same of what the host said of the old one. */
  | { readonly kind: 'match'; readonly signed: Signed; readonly now: Uint8Array }

/** A patch, the old contents before it in a frame, or whole. */
export type Said = { readonly way: 'patch'; readonly patch: Patch } | { readonly way: 'prefix' | 'whole' }

export type Answer<Kind extends Job['kind']> = Kind extends 'compare' | 'match' ? Said : Uint8Array

export function answer(job: Job): Said | Uint8Array {
  switch (job.kind) {
    case 'compress':
      return packed(job.bytes, job.level)
    case 'after':
      return packedAfter(job.before, job.bytes, job.level)
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

/** What is no program and no larger is not worth measuring: old contents before it are never much worse. */
const SMALL = 256 << 10
/** The words about a patch: two paths, five numbers, a header for the metadata. */
const WORDS = 60
/** What the final effort makes smaller than the quick measure here: of a prefix, of a patch. */
const MORE = { prefix: 0.8, patch: 0.92 }

function compare({ before, now, can, quick }: Extract<Job, { kind: 'compare' }>): Said {
  const fits = can.prefix && !isTrained(before)
  if (fits && now.length <= SMALL && !isProgram(now)) return { way: 'prefix' }
  const patch = can.patch ? makePatch(before, now, { quick }) : can.copies ? makeCopies(before, now, quick) : undefined
  const asPatch = patch === undefined ? Infinity : costOf(patch)
  // a patch that is this small is not beaten, and what large files cost to compress is saved
  const asPrefix = fits && asPatch > now.length / 50 ? MORE.prefix * packedAfter(before, now, 6).length : Infinity
  const plain = plainCost(now)
  if (patch !== undefined && asPatch < Math.min(asPrefix, plain)) return { way: 'patch', patch }
  return { way: asPrefix < plain ? 'prefix' : 'whole' }
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

function plainCost(now: Uint8Array): number {
  return 0.95 * packed(now, QUICK).length
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

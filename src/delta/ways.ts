// Chooses for each file how it is said: whole, by a patch of an old file, or compressed with old files before it.
import { Readable } from 'node:stream'
import type { ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Plan, Reference, Step } from '../model/plan.ts'
import type { Signed } from './blocks.ts'
import type { Pace } from './effort.ts'
import type { Pool } from './pool.ts'
import type { Patch } from './streams.ts'
import { glanceAt, isMuchNew, type FrameTool, type Guess } from './work.ts'

export type Ways = {
  /** By path; whole once all segments were taken. */
  readonly patched: ReadonlyMap<
    ByteString,
    { readonly reference: Reference; readonly size: number; readonly patch: Patch }
  >
  /** Each as soon as it is full. */
  readonly segments: AsyncIterable<Segment> | readonly Segment[]
}

/** Files that are compressed as one frame, which is decoded with the references before it. */
export type Segment = {
  readonly references: readonly Reference[]
  readonly files: readonly FileEntry[]
  /** Of all segments, as far as is known: bytes of files, and of frames at level 6, about. */
  readonly all: { readonly bytes: number; readonly packed: number }
  readonly last: boolean
}

export type HostCan = {
  /** zstd --patch-from, or else xz. */
  readonly prefix: FrameTool | undefined
  /** perl or python3. */
  readonly patch: boolean
  /** Patches that only copy, at least. */
  readonly copies: boolean
  /** Bytes of references and files that it can hold for one segment. */
  readonly memory: number
}

/** A file of the source, whole or piece by piece. */
export type Contents = (file: FileEntry) => AsyncIterable<Uint8Array> | Uint8Array

export type WaysOptions = {
  readonly contents: Contents
  /** Bytes by SHA-256, where they are at hand. */
  readonly old: (sha256: string) => Uint8Array | undefined
  /** By SHA-256 what the host said of others. */
  readonly signed: ReadonlyMap<string, Signed>
  readonly can: HostCan
  readonly pace: Pace
  readonly pool: Pool
}

export const NO_WAYS: Ways = { patched: new Map(), segments: [] }
/** Larger files are sent whole: both are held in memory here. */
const LARGEST = 256 << 20
/** Bytes of files and references that are compared at once. */
const AT_ONCE = 64 << 20
/** Old bytes that are further back are not seen: the window of xz is 64 MiB (see lzma.ts), and pieces move. */
const REACH: Record<FrameTool, number> = { zstd: Infinity, xz: 56 << 20 }
/** Bytes of files and references for one frame, where those are several: xz's take long to make, so several are made at once. */
const TOGETHER: Record<FrameTool, number> = { zstd: Infinity, xz: 16 << 20 }
/** On links that are faster the quick patch arrives sooner: that is for --effort fast. */
const FAST = 50e6

type Chosen = {
  readonly file: FileEntry
  readonly reference: Reference
  readonly patch: Patch | undefined
  /** Bytes of a frame at level 6, about. */
  readonly packed: number
}

type Sent = Extract<Step, { kind: 'send' }> & { readonly reference: Reference }

/** The same input gives the same ways. */
export function chooseWays(plan: Plan, options: WaysOptions): Ways {
  const patched = new Map<ByteString, { reference: Reference; size: number; patch: Patch }>()
  const sent = plan.steps
    .filter((step): step is Sent => step.kind === 'send' && step.reference !== undefined)
    .filter(({ entry, reference }) => Math.max(entry.size, reference.size) <= LARGEST)
  return { patched, segments: segmentsOf(sent, patched, options) }
}

/** What was begun with a file and how many bytes that holds. */
type Begun<Value> = { readonly step: Sent; readonly done: Promise<Value> }

/** Does something with each as soon as memory and threads are there; they are answered in order. */
function begin<Value>(
  sent: readonly Sent[],
  pool: Pool,
  what: (step: Sent) => Promise<Value>,
): AsyncIterable<Begun<Value>> {
  const all = async function* (): AsyncGenerator<Begun<Value>> {
    const running = new Map<Promise<unknown>, number>()
    for (const step of sent) {
      const bytes = step.entry.size + step.reference.size
      const held = (): number => [...running.values()].reduce((sum, size) => sum + size, 0)
      while (running.size > 2 * pool.cores || (running.size > 0 && held() + bytes > AT_ONCE))
        await Promise.race(running.keys())
      const done = what(step)
      running.set(done, bytes)
      void done.catch(() => {}).finally(() => running.delete(done))
      yield { step, done }
    }
  }
  return Readable.from(all(), { highWaterMark: sent.length + 1 })
}

type Bytes = { readonly before: Uint8Array; readonly now: Uint8Array }
/** `held` is what was read for it, where there was room. */
type Glanced = { readonly prefix: boolean; readonly guess?: Guess; readonly held?: Bytes }

/** Tells where a frame is certainly best. `room` says whether that much may be held until the file is compared. */
async function glance(
  { entry: file, reference }: Sent,
  { contents, old, can, pool }: WaysOptions,
  room: (bytes: number) => boolean,
): Promise<Glanced> {
  const before = fits(file, reference.size, can) ? old(reference.sha256) : undefined
  if (before === undefined) return { prefix: false }
  const now = await whole(contents(file))
  const job = glanceAt(before, now)
  const held = room(before.length + now.length) ? { held: { before, now } } : {}
  if (typeof job === 'boolean') return { prefix: job, ...(job ? {} : held) }
  const guess = await pool.run(job)
  return isMuchNew(guess) ? { prefix: true, guess } : { prefix: false, guess, ...held }
}

function fits(file: FileEntry, before: number, { prefix, memory }: HostCan): boolean {
  return prefix !== undefined && file.size + before <= memory && before <= REACH[prefix]
}

/** Undefined where whole is best. */
async function choose(
  { entry: file, reference }: Sent,
  { contents, old, signed, can, pace, pool }: WaysOptions,
  { guess, held }: Glanced,
): Promise<Chosen | undefined> {
  const before = held?.before ?? old(reference.sha256)
  if (before === undefined) {
    const blocks = can.copies ? signed.get(reference.sha256) : undefined
    if (blocks === undefined) return undefined
    const found = await pool.run({ kind: 'match', signed: blocks, now: await whole(contents(file)) })
    return found.way === 'patch' ? { file, reference, patch: found.patch, packed: 0 } : undefined
  }
  const prefix = fits(file, before.length, can)
  // a frame of xz is smaller than copies are, and takes no process for each
  const copies = can.copies && !(prefix && can.prefix === 'xz')
  const now = held?.now ?? (await whole(contents(file)))
  const quick = pace.bytesPerSecond > FAST
  const told = guess === undefined ? {} : { guess }
  const said = await pool.run({ kind: 'compare', before, now, can: { patch: can.patch, prefix, copies }, quick, ...told }) // prettier-ignore
  if (said.way === 'whole') return undefined
  if (said.way === 'patch') return { file, reference, patch: said.patch, packed: 0 }
  return { file, reference, patch: undefined, packed: said.size ?? file.size * USUAL }
}

/** What level 6 makes of small files that are seldom measured. */
const USUAL = 0.06
/** New bytes of the first segment: a link has nothing to do until it is begun. Each next one has four times as many, up to so many. */
const FIRST = 1 << 20
const MOST = 16 << 20
/** Larger files come later; smaller ones stay beside their neighbours, which are often like them. */
const LARGE = 256 << 10

function rank(size: number): number {
  return size < LARGE ? 0 : size
}

/**
 * As many files in each as the host can hold together with what they refer to: first what certainly is in a frame, then what
 * comparing tells, which takes longer.
 */
async function* segmentsOf(
  sent: readonly Sent[],
  patched: Map<ByteString, { reference: Reference; size: number; patch: Patch }>,
  options: WaysOptions,
): AsyncGenerator<Segment> {
  const inOrder = sent.toSorted((a, b) => rank(a.entry.size) - rank(b.entry.size))
  const segments = new Segments(sent, options)
  let left = AT_ONCE
  const room = (bytes: number): boolean => {
    if (bytes > left) return false
    left -= bytes
    return true
  }
  const glances = begin(inOrder, options.pool, (step) => glance(step, options, room))
  const later = new Map<Sent, Glanced>()
  for await (const { step, done } of glances) {
    const told = await done
    if (told.prefix) yield* segments.add({ file: step.entry, reference: step.reference, packed: told.guess?.after ?? step.entry.size * USUAL })
    else later.set(step, told)
  } // prettier-ignore
  if (later.size > 0) yield* segments.large()
  const found = new Map<ByteString, Patch>()
  for await (const { step, done } of begin([...later.keys()], options.pool, (given) => choose(given, options, later.get(given) ?? { prefix: false }))) {
    const chosen = await done
    later.delete(step)
    if (chosen?.patch !== undefined) found.set(chosen.file.path, chosen.patch)
    if (chosen === undefined || chosen.patch !== undefined) segments.without(step)
    else yield* segments.add(chosen)
  } // prettier-ignore
  // beside their neighbours, which are often like them
  for (const { entry, reference } of sent) {
    const patch = found.get(entry.path)
    if (patch !== undefined) patched.set(entry.path, { reference, size: entry.size, patch })
  }
  yield* segments.end()
}

type Open = { references: Reference[]; held: Set<string>; files: FileEntry[]; bytes: number; fresh: number }

class Segments {
  private readonly memory: number
  private readonly decided = { bytes: 0, packed: 0 }
  private undecided: number
  private most = FIRST
  private open: Open | undefined

  constructor(sent: readonly Sent[], { can }: WaysOptions) {
    this.memory = Math.min(can.memory, TOGETHER[can.prefix ?? 'zstd'])
    this.undecided = sent.reduce((sum, { entry }) => sum + entry.size, 0)
  }

  without({ entry }: Sent): void {
    this.undecided -= entry.size
  }

  /** Gives the one before, where that is full. */
  *add({ file, reference, packed }: Omit<Chosen, 'patch'>): Generator<Segment> {
    this.undecided -= file.size
    this.decided.bytes += file.size
    this.decided.packed += packed
    const more = file.size + (this.open?.held.has(reference.sha256) === true ? 0 : reference.size)
    if (this.open !== undefined && (this.open.bytes + more > this.memory || this.open.fresh >= this.most)) {
      yield this.closed(this.open, false)
      this.most = Math.min(MOST, this.most * 4)
      this.open = undefined
    }
    const open = (this.open ??= { references: [], held: new Set(), files: [], bytes: 0, fresh: 0 })
    open.files.push(file)
    open.fresh += file.size
    open.bytes += file.size + (open.held.has(reference.sha256) ? 0 : reference.size)
    if (!open.held.has(reference.sha256)) open.references.push(reference)
    open.held.add(reference.sha256)
  }

  /** Gives what there is, where that keeps a link busy. */
  *large(): Generator<Segment> {
    if (this.open === undefined || this.open.fresh < FIRST) return
    yield this.closed(this.open, false)
    this.open = undefined
    this.most = FIRST * 4
  }

  *end(): Generator<Segment> {
    if (this.open !== undefined) yield this.closed(this.open, true)
  }

  private closed({ references, files }: Open, last: boolean): Segment {
    const all = {
      bytes: this.decided.bytes + this.undecided,
      packed: this.decided.packed + this.undecided * USUAL,
    }
    return { references, files, all, last }
  }
}

/** All of it, or at least so many bytes. */
export async function whole(bytes: AsyncIterable<Uint8Array> | Uint8Array, most = Infinity): Promise<Uint8Array> {
  if (bytes instanceof Uint8Array) return bytes
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    // it may be overwritten by the next
    chunks.push(Uint8Array.from(chunk))
    if ((size += chunk.length) >= most) break
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
}

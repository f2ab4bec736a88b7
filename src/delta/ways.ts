// Chooses for each file how it is said: whole, by a patch of an old file, or compressed with old files before it.
import type { ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Plan, Reference } from '../model/plan.ts'
import type { Signed } from './blocks.ts'
import type { Pace } from './effort.ts'
import type { Pool } from './pool.ts'
import type { Patch } from './streams.ts'
import type { FrameTool } from './work.ts'

export type Ways = {
  /** By path. */
  readonly patched: ReadonlyMap<
    ByteString,
    { readonly reference: Reference; readonly size: number; readonly patch: Patch }
  >
  readonly segments: readonly Segment[]
}

/** Files that are compressed as one frame, which is decoded with the references before it. */
export type Segment = {
  readonly references: readonly Reference[]
  readonly files: readonly FileEntry[]
  /** Bytes of the frame at level 6, about. */
  readonly packed: number
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
  /** See Segment. */
  readonly packed: number
}

/** The same input gives the same ways. */
export async function chooseWays(plan: Plan, options: WaysOptions): Promise<Ways> {
  const { pool, can } = options
  const begun: Promise<Chosen | undefined>[] = []
  const running = new Map<Promise<unknown>, number>()
  for (const step of plan.steps) {
    if (step.kind !== 'send' || step.reference === undefined) continue
    const { entry: file, reference } = step
    const bytes = file.size + reference.size
    if (Math.max(file.size, reference.size) > LARGEST) continue
    const held = (): number => [...running.values()].reduce((sum, size) => sum + size, 0)
    while (running.size > 2 * pool.cores || (running.size > 0 && held() + bytes > AT_ONCE))
      await Promise.race(running.keys())
    const chosen = choose(file, reference, options)
    running.set(chosen, bytes)
    void chosen.catch(() => {}).finally(() => running.delete(chosen))
    begun.push(chosen)
  }
  const patched = new Map<ByteString, { reference: Reference; size: number; patch: Patch }>()
  const prefixed: Chosen[] = []
  for (const chosen of await Promise.all(begun)) {
    if (chosen === undefined) continue
    const { file, reference, patch } = chosen
    if (patch === undefined) prefixed.push(chosen)
    else patched.set(file.path, { reference, size: file.size, patch })
  }
  return { patched, segments: segmentsOf(prefixed, Math.min(can.memory, TOGETHER[can.prefix ?? 'zstd'])) }
}

/** Undefined where whole is best. */
async function choose(
  file: FileEntry,
  reference: Reference,
  { contents, old, signed, can, pace, pool }: WaysOptions,
): Promise<Chosen | undefined> {
  const before = old(reference.sha256)
  if (before === undefined) {
    const blocks = can.copies ? signed.get(reference.sha256) : undefined
    if (blocks === undefined) return undefined
    const found = await pool.run({ kind: 'match', signed: blocks, now: await whole(contents(file)) })
    return found.way === 'patch' ? { file, reference, patch: found.patch, packed: 0 } : undefined
  }
  const tool = file.size + before.length <= can.memory ? can.prefix : undefined
  const prefix = tool !== undefined && before.length <= REACH[tool]
  // a frame of xz is smaller than copies are, and takes no process for each
  const copies = can.copies && !(prefix && tool === 'xz')
  const now = await whole(contents(file))
  const quick = pace.bytesPerSecond > FAST
  const said = await pool.run({ kind: 'compare', before, now, can: { patch: can.patch, prefix, copies }, quick })
  if (said.way === 'whole') return undefined
  if (said.way === 'patch') return { file, reference, patch: said.patch, packed: 0 }
  return { file, reference, patch: undefined, packed: said.size ?? file.size * USUAL }
}

/** What level 6 makes of small files that are seldom measured. */
const USUAL = 0.06
/** New bytes of the first segment: a link has nothing to do until it is begun. Each next one has four times as many. */
const FIRST = 1 << 20
/** Larger files come later; smaller ones stay beside their neighbours, which are often like them. */
const LARGE = 256 << 10

/** As many files in each as the host can hold together with what they refer to. */
function segmentsOf(prefixed: readonly Chosen[], memory: number): Segment[] {
  const segments: { references: Reference[]; files: FileEntry[]; packed: number }[] = []
  let held = new Set<string>()
  let bytes = Infinity
  let fresh = 0
  const rank = (size: number): number => (size < LARGE ? 0 : size)
  for (const { file, reference, packed } of prefixed.toSorted((a, b) => rank(a.file.size) - rank(b.file.size))) {
    const more = file.size + (held.has(reference.sha256) ? 0 : reference.size)
    if (bytes + more > memory || fresh >= FIRST * 4 ** (segments.length - 1)) {
      segments.push({ references: [], files: [], packed: 0 })
      held = new Set()
      bytes = 0
      fresh = 0
    }
    fresh += file.size
    const segment = segments.at(-1)
    if (!held.has(reference.sha256)) segment?.references.push(reference)
    segment?.files.push(file)
    if (segment !== undefined) segment.packed += packed
    bytes += file.size + (held.has(reference.sha256) ? 0 : reference.size)
    held.add(reference.sha256)
  }
  return segments
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

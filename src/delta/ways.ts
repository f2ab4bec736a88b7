// Chooses for each file how it is said: whole, by a patch of an old file, or compressed with old files before it.
import type { ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Plan, Reference } from '../model/plan.ts'
import { makePatch } from './patch.ts'
import type { Patch } from './streams.ts'
import { packed, packedAfter } from './zstd.ts'

export type Ways = {
  /** By path. */
  readonly patched: ReadonlyMap<
    ByteString,
    { readonly reference: Reference; readonly size: number; readonly patch: Patch }
  >
  readonly segments: readonly Segment[]
}

/** Files that are compressed as one frame, which is decoded with the references before it. */
export type Segment = { readonly references: readonly Reference[]; readonly files: readonly FileEntry[] }

export type HostCan = {
  /** zstd --patch-from. */
  readonly prefix: boolean
  /** perl or python3. */
  readonly patch: boolean
  /** Bytes of references and files that it can hold for one segment. */
  readonly memory: number
}

/** A file of the source, whole or piece by piece. */
export type Contents = (file: FileEntry) => AsyncIterable<Uint8Array> | Uint8Array

export const NO_WAYS: Ways = { patched: new Map(), segments: [] }
/** Larger files are sent whole: both are held in memory here. */
const LARGEST = 256 << 20
/** What is no program and no larger is not worth measuring: old contents before it are never much worse. */
const SMALL = 256 << 10
/** The words about a patch: two paths, five numbers, a header for the metadata. */
const WORDS = 60
/** What the final effort makes smaller than the quick measure here: of a prefix, of a patch. */
const MORE = { prefix: 0.8, patch: 0.92 }

/** `old` gives bytes by SHA-256, where they are at hand. The same input gives the same ways. */
export async function chooseWays(
  plan: Plan,
  { contents, old, can }: { contents: Contents; old: (sha256: string) => Uint8Array | undefined; can: HostCan },
): Promise<Ways> {
  const patched = new Map<ByteString, { reference: Reference; size: number; patch: Patch }>()
  const prefixed: { file: FileEntry; reference: Reference }[] = []
  for (const step of plan.steps) {
    if (step.kind !== 'send' || step.reference === undefined) continue
    const { entry: file, reference } = step
    if (Math.max(file.size, reference.size) > LARGEST) continue
    const before = old(reference.sha256)
    if (before === undefined) continue
    const fits = can.prefix && file.size + before.length <= can.memory && !isTrained(before)
    const now = await whole(contents(file))
    if (fits && file.size <= SMALL && !isProgram(now)) {
      prefixed.push({ file, reference })
      continue
    }
    const patch = can.patch ? makePatch(before, now) : undefined
    const asPatch = patch === undefined ? Infinity : WORDS + MORE.patch * packed(joined(patch)).length
    // a patch that is this small is not beaten, and what large files cost to compress is saved
    const asPrefix = fits && asPatch > file.size / 50 ? MORE.prefix * packedAfter(before, now, 6).length : Infinity
    const plain = 0.95 * packed(now).length
    if (patch !== undefined && asPatch < Math.min(asPrefix, plain))
      patched.set(file.path, { reference, size: file.size, patch })
    else if (asPrefix < plain) prefixed.push({ file, reference })
  }
  return { patched, segments: segmentsOf(prefixed, can.memory) }
}

/** As many files in each as the host can hold together with what they refer to. */
function segmentsOf(prefixed: readonly { file: FileEntry; reference: Reference }[], memory: number): Segment[] {
  const segments: { references: Reference[]; files: FileEntry[] }[] = []
  let held = new Set<string>()
  let bytes = Infinity
  for (const { file, reference } of prefixed) {
    const more = file.size + (held.has(reference.sha256) ? 0 : reference.size)
    if (bytes + more > memory) {
      segments.push({ references: [], files: [] })
      held = new Set()
      bytes = 0
    }
    const segment = segments.at(-1)
    if (!held.has(reference.sha256)) segment?.references.push(reference)
    segment?.files.push(file)
    bytes += file.size + (held.has(reference.sha256) ? 0 : reference.size)
    held.add(reference.sha256)
  }
  return segments
}

export async function whole(bytes: AsyncIterable<Uint8Array> | Uint8Array): Promise<Uint8Array> {
  if (bytes instanceof Uint8Array) return bytes
  const chunks: Uint8Array[] = []
  // a chunk may be overwritten by the next
  for await (const chunk of bytes) chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

function joined({ ops, gaps, differences, literals }: Patch): Uint8Array {
  return Buffer.concat([ops, gaps, differences, literals])
}

/** zstd takes what begins so for a dictionary that was trained (RFC 8878, 5). */
function isTrained(bytes: Uint8Array): boolean {
  return bytes[0] === 0x37 && bytes[1] === 0xa4 && bytes[2] === 0x30 && bytes[3] === 0xec
}

/** ELF, in which addresses move when it is built again. */
function isProgram(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

// Finds for each file that is sent what it may be a new version of: an old file on the host.
import type { ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Plan, Reference, Step } from '../model/plan.ts'
import { filesOf } from '../model/tree.ts'
import type { Known } from './plan.ts'

/** Below this a file costs less than the words about another. */
const LEAST_SIZE = 64

export type Usable = {
  /** The old bytes are here as well. */
  readonly atHand: (sha256: string) => boolean
  /** They are in a layer of the source, and so at hand as well; but what else is there says nothing of what the host has. */
  readonly below: (sha256: string) => boolean
  /** The host can be asked for signatures of the old bytes. */
  readonly signable: (reference: Reference) => boolean
}

/**
 * The plan with references, from `held` trees of the host, the likeliest first. Tried in this order: the same path, the
 * same but for numbers (versions, hashes), the same name elsewhere, the same name but for numbers; of each what is at hand
 * first. A file that comes to be under several names is looked for under each. Pure.
 */
export function withReferences(plan: Plan, held: readonly Known[], usable: Usable): Plan {
  const names = namesOf(plan)
  if (names.size === 0) return plan
  const shelves = shelvesFor([...names.values()].flat(), held)
  const steps = plan.steps.map((step): Step => {
    if (step.kind !== 'send') return step
    const reference = likeliest(names.get(step.entry.path) ?? [], shelves, usable)
    return reference === undefined ? step : { ...step, reference }
  })
  return { ...plan, steps }
}

function likeliest(names: readonly FileEntry[], shelves: Shelves, usable: Usable): Reference | undefined {
  for (const keyOf of KEYS)
    for (const file of names) {
      const key = keyOf(file.path)
      const shelf = shelves.get(key) ?? []
      const reference =
        closest(file, shelf, ({ sha256 }) => usable.atHand(sha256)) ??
        (keyOf === KEYS[0] ? closest(file, shelf, ({ sha256 }) => usable.below(sha256)) : undefined) ??
        closest(file, shelf, (other) => usable.signable(other) && isLikely(key, file, other))
      if (reference !== undefined) return reference
    }
  return undefined
}

/** Of each file that is sent all names that its contents get, its own first. */
function namesOf({ steps, tree }: Plan): Map<ByteString, FileEntry[]> {
  const names = new Map<ByteString, FileEntry[]>()
  for (const step of steps)
    if (step.kind === 'send' && step.entry.size >= LEAST_SIZE) names.set(step.entry.path, [step.entry])
  for (const step of steps) {
    if (step.kind === 'alias') names.get(step.entry.first)?.push(step.entry)
    if (step.kind === 'copy' && step.from.tree === tree) names.get(step.from.path)?.push(step.entry)
  }
  return names
}

type Shelves = ReadonlyMap<string, readonly Reference[]>

function shelvesFor(sent: readonly FileEntry[], held: readonly Known[]): Shelves {
  const shelves = new Map<string, Reference[]>(sent.flatMap(({ path }) => keysOf(path).map((key) => [key, []])))
  for (const { id, tree } of held)
    for (const { path, size, sha256 } of filesOf(tree))
      if (size >= LEAST_SIZE) for (const key of keysOf(path)) shelves.get(key)?.push({ tree: id, path, size, sha256 })
  return shelves
}

/** What a file is found by, the surest first. */
const KEYS: readonly ((path: ByteString) => string)[] = [
  (path) => `=${path}`,
  (path) => `~${unnumbered(path)}`,
  (path) => `n=${nameOf(path)}`,
  (path) => `n~${unnumbered(nameOf(path))}`,
]

function keysOf(path: ByteString): string[] {
  return KEYS.map((keyOf) => keyOf(path))
}

function nameOf(path: ByteString): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Signatures are paid for before it is known what they find: a file of that name elsewhere must at least be of such a size. */
function isLikely(key: string, { size }: FileEntry, other: Reference): boolean {
  return !key.startsWith('n') || Math.min(size, other.size) * 2 > Math.max(size, other.size)
}

/** Versions and the hashes that bundlers put into names, all alike. */
function unnumbered(text: string): string {
  return text.replaceAll(/[0-9a-f]*[0-9][0-9a-f]*/g, '#')
}

/** The one whose path and size are most like the file's; of equal ones the first. */
function closest(
  file: FileEntry,
  shelf: readonly Reference[],
  isUsable: (reference: Reference) => boolean,
): Reference | undefined {
  let best: Reference | undefined
  let most = -1
  for (const candidate of shelf) {
    const near =
      shared(file.path, candidate.path) + Math.min(file.size, candidate.size) / Math.max(file.size, candidate.size)
    if (near > most && isUsable(candidate)) [best, most] = [candidate, near]
  }
  return best
}

/** How many directories two paths have in common, from either end. */
function shared(a: ByteString, b: ByteString): number {
  if (a === b) return 1e6
  const [left, right] = [a.split('/'), b.split('/')]
  const most = Math.min(left.length, right.length)
  let count = 0
  while (count < most && left[count] === right[count]) count++
  let back = 0
  while (back < most && left.at(-1 - back) === right.at(-1 - back)) back++
  return count + back
}

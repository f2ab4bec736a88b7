// Finds the stack of a host that explains most of a flat tree, and what has to lie over it so that both are the tree.
import { byteString, type ByteString } from '../model/bytes.ts'
import { parentOf, type Entry } from '../model/entry.ts'
import { whiteout } from '../model/layer.ts'
import { makeTree, type Tree } from '../model/tree.ts'
import { keptPaths, sameEntry } from './kept.ts'

export type Candidate = {
  /** Ids of trees, bottom first. */
  readonly stack: readonly string[]
  /** What a container sees of them. */
  readonly flat: Tree
}

export type Match = {
  readonly stack: readonly string[]
  /** The one layer over the stack; undefined where the stack is the tree already. */
  readonly residual: Tree | undefined
}

/** Below this part of equal entries a tree of its own, linked to what is equal, costs less than a layer over another. */
const WORTH = 0.5
/** What a longer stack must spare of a shorter one's residual, so that redeploys do not pile up layers. */
const SPARED = 0.25

/** flatten([...match.stack, match.residual]) is the target, entry for entry. Undefined where no candidate is worth it. */
export function matchStack(target: Tree, candidates: readonly Candidate[]): Match | undefined {
  let best: { candidate: Candidate; over: number } | undefined
  const ordered = candidates.toSorted((a, b) => a.stack.length - b.stack.length)
  for (const candidate of ordered) {
    const before = new Map(candidate.flat.entries.map((entry) => [entry.path, entry]))
    const kept = keptPaths(target, before)
    if (kept.size < target.entries.length * WORTH) continue
    const over = target.entries.length - kept.size + hiddenPaths(target, candidate.flat).length
    if (best === undefined || over < best.over * (1 - SPARED)) best = { candidate, over }
  }
  return best && { stack: best.candidate.stack, residual: residual(target, best.candidate.flat) }
}

/** What lies over `below` so that together they are the target; undefined where they are equal. */
export function residual(target: Tree, below: Tree): Tree | undefined {
  const before = new Map(below.entries.map((entry) => [entry.path, entry]))
  const kept = keptPaths(target, before)
  const now = new Map(target.entries.map((entry) => [entry.path, entry]))
  const entries = new Map<ByteString, Entry>()
  const put = (entry: Entry): void => {
    entries.set(entry.path, entry)
    for (let path = entry.path; path !== '';) {
      path = parentOf(path)
      const above = now.get(path)
      if (above === undefined || entries.has(path)) break
      entries.set(path, above)
    }
  }
  for (const entry of target.entries) if (!kept.has(entry.path)) put(entry)
  for (const path of hiddenPaths(target, below)) put(whiteout(path))
  const root = now.get(byteString(''))
  if (entries.size === 0 && root !== undefined && sameEntry(root, before.get(root.path))) return undefined
  if (root !== undefined) entries.set(root.path, root)
  return makeTree([...entries.values()])
}

/** Topmost paths of `below` that the target has not, where nothing of the target stands above them. */
function hiddenPaths(target: Tree, below: Tree): ByteString[] {
  const paths = new Set(target.entries.map((entry) => entry.path))
  const directories = new Set(target.entries.filter((entry) => entry.kind === 'directory').map((entry) => entry.path))
  return below.entries
    .map((entry) => entry.path)
    .filter((path) => path !== '' && !paths.has(path) && directories.has(parentOf(path)))
}

// The stack of trees that a host is to have for a source: as many layers as it takes, or one where it takes no more.
import type { Survey } from '../host/survey.ts'
import { flatten, withoutRepeats } from '../model/stack.ts'
import { rootfsBytes, type Tree } from '../model/tree.ts'
import { matchStack, type Candidate } from '../plan/match.ts'
import { withoutLosses, type Loss } from '../plan/loss.ts'
import { withMtimes, type MtimePolicy } from '../plan/mtimes.ts'
import { treeId } from '../store/hash.ts'
import type { Manifest, TreeSummary } from '../store/manifest.ts'
import { keep, sizeOf, treeOf, type Layer } from './read-source.ts'

export type Fit = {
  readonly rootfs: 'overlay' | 'copy'
  readonly store: string
  readonly survey: Survey
  readonly manifest: Manifest
  readonly allowLoss: ReadonlySet<Loss>
}

/** A mount's options fit into one page; this much is for what is not a layer. */
const PAGE = 4096
const BESIDE = 700

/** The layers with their times as the policy has them; recorded in their ids. */
export function timedLayers(layers: readonly Layer[], policy: MtimePolicy, manifest: Manifest): readonly Layer[] {
  if (policy.kind === 'keep') return layers
  return layers.map((layer) => {
    const tree = withMtimes(layer.tree(), policy)
    return { ...layer, id: keep(tree, manifest), tree: () => tree }
  })
}

/** How many layers a mount below this store can have. */
export function mostLayers(store: string): number {
  return Math.floor((PAGE - BESIDE) / (store.length + '/tree//root:'.length + 64))
}

/** The layers as this host can hold them. Throws E_LOSS. */
export function fitLayers(layers: readonly Layer[], { rootfs, store, survey, manifest, allowLoss }: Fit): Layer[] {
  if (survey.tools.tar === 'busybox') {
    const tree = withoutLosses(seenOf(layers), allowLoss)
    return [made(tree, layers.map((layer) => layer.origin).join(' + '), manifest)]
  }
  const most = rootfs === 'copy' ? 1 : mostLayers(store)
  const single = withoutRepeats(layers)
  if (single.length <= most) return single
  const merged = single.slice(0, single.length - most + 1)
  return [made(seenOf(merged), `${merged.length} layers`, manifest), ...single.slice(merged.length)]
}

/** A flat tree as a known stack of the host and one layer over it, where that explains most of it; else the tree itself. */
export function splitFlat(
  layer: Layer,
  at: {
    readonly manifest: Manifest
    readonly stacks: readonly (readonly string[])[]
    readonly held: readonly string[]
    /** How many layers the host can mount. */
    readonly most: number
  },
): Layer[] {
  const { manifest, held } = at
  const known = new Set(held)
  const candidates = new Map<string, Candidate>()
  for (const stack of at.stacks) {
    let below: Tree | undefined
    for (let depth = 1; depth <= stack.length && depth < at.most && known.has(stack[depth - 1] ?? ''); depth++) {
      const prefix = stack.slice(0, depth)
      const tree = treeOf(prefix[depth - 1] ?? '', manifest)
      const flat: Tree = candidates.get(prefix.join(','))?.flat ?? (below === undefined ? tree : flatten([below, tree]))
      candidates.set(prefix.join(','), { stack: prefix, flat })
      below = flat
    }
  }
  const match = matchStack(layer.tree(), [...candidates.values()])
  if (match === undefined) return [layer]
  const below = match.stack.map((id): Layer => ({
    id,
    origin: 'a layer that the host has',
    history: undefined,
    tree: () => treeOf(id, manifest),
  }))
  const over = match.residual === undefined ? [] : [made(match.residual, layer.origin, manifest)]
  const split = withoutRepeats([...below, ...over])
  // the law is not taken on trust
  if (treeId(seenOf(split)) !== layer.id) return [layer]
  remember(split, layer.id, layer.tree(), manifest)
  return split
}

/** The stack that a container stands on already, where a flat source is just what is seen of it. */
export function sameAs(layer: Layer, stack: readonly string[], manifest: Manifest): Layer[] | undefined {
  if (stack.length < 2 || manifest.stack(stack)?.flat !== layer.id) return undefined
  return stack.map((id) => ({ ...layer, id, tree: () => treeOf(id, manifest) }))
}

export function seenOf(layers: readonly Pick<Layer, 'tree'>[]): Tree {
  const [only] = layers
  return layers.length === 1 && only !== undefined ? only.tree() : flatten(layers.map((layer) => layer.tree()))
}

/** Entries and bytes that a container sees; laid together once, then remembered. */
export function seenSize(layers: readonly Layer[], manifest: Manifest): TreeSummary {
  const [only] = layers
  if (layers.length === 1 && only !== undefined) return sizeOf(only.id, only.tree, manifest)
  const known = manifest.stack(layers.map((layer) => layer.id))
  if (known !== undefined) return known
  const tree = seenOf(layers)
  return remember(layers, treeId(tree), tree, manifest)
}

function remember(layers: readonly Layer[], flat: string, tree: Tree, manifest: Manifest): TreeSummary {
  const seen = { flat, entries: tree.entries.length, bytes: rootfsBytes(tree) }
  manifest.keepStack(
    layers.map((layer) => layer.id),
    seen,
  )
  return seen
}

function made(tree: Tree, origin: string, manifest: Manifest): Layer {
  return { id: keep(tree, manifest), origin, history: undefined, tree: () => tree }
}

// Lays the trees of layers one over another, and tells what a container sees.
import type { ByteString } from './bytes.ts'
import type { Entry } from './entry.ts'
import { isOpaque, isWhiteout, renameGroups, settleLayer, withoutMark, type RawLayer } from './layer.ts'
import { makeTree, type Tree } from './tree.ts'

/**
 * What an overlay mount of the layers shows, bottom first. Names share an inode where they do in their own layer; a
 * directory is as the highest layer has it. Throws E_PATH_ROOT where there is no layer.
 */
export function flatten(layers: readonly Tree[]): Tree {
  const root: Node = { entry: undefined, children: new Map() }
  for (const [depth, layer] of layers.entries())
    for (const entry of layer.entries) lay(root, inLayer(entry, depth), isOpaque(entry))
  const entries: Entry[] = []
  collect(root, entries)
  return makeTree(renameGroups(entries))
}

/** The layers of an image as trees, bottom first, each made for those below it. Throws E_HARDLINK. */
export function settleLayers(layers: readonly RawLayer[]): Tree[] {
  const settled: Tree[] = []
  let below: Tree | undefined
  for (const raw of layers) {
    const layer = settled.at(-1)
    if (layer !== undefined) below = flatten(below === undefined ? [layer] : [below, layer])
    settled.push(settleLayer(raw, below))
  }
  return settled
}

/**
 * The stack without all but the highest of layers that are the same tree: overlayfs takes no directory twice, and what a
 * lower one has, hides or says is had, hidden or said again by the highest.
 */
export function withoutRepeats<Layer extends { readonly id: string }>(layers: readonly Layer[]): Layer[] {
  const highest = new Map(layers.map(({ id }, depth) => [id, depth]))
  return layers.filter(({ id }, depth) => highest.get(id) === depth)
}

type Node = { entry: Entry | undefined; children: Map<string, Node> | undefined }

function lay(root: Node, entry: Entry, opaque: boolean): void {
  const names = entry.path.split('/')
  const name = entry.path === '' ? undefined : names.pop()
  let above = root
  if (name !== undefined) for (const each of names) above = childOf(above, each)
  if (name !== undefined && isWhiteout(entry)) above.children?.delete(name)
  else {
    const node = name === undefined ? root : childOf(above, name)
    node.entry = entry
    if (entry.kind !== 'directory') node.children = undefined
    else if (opaque) node.children = new Map()
  }
}

function childOf(directory: Node, name: string): Node {
  const children = (directory.children ??= new Map<string, Node>())
  let child = children.get(name)
  if (child === undefined) children.set(name, (child = { entry: undefined, children: undefined }))
  return child
}

/** A hard-link group is one of its layer: no other layer's may have the same name. */
function inLayer(entry: Entry, depth: number): Entry {
  if (entry.kind === 'directory') return withoutMark(entry)
  return entry.kind === 'file' ? { ...entry, first: `${depth} ${entry.first}` as ByteString } : entry
}

function collect(node: Node, into: Entry[]): void {
  if (node.entry !== undefined) into.push(node.entry)
  for (const child of node.children?.values() ?? []) collect(child, into)
}

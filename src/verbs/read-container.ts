// Reads a live container as its image's layers and one layer over them, so that only its own changes travel.
import { openContainer, type OpenContainer } from '../engine/container.ts'
import type { FileEntry } from '../model/entry.ts'
import { filesOf, type Tree } from '../model/tree.ts'
import { asBelow } from '../plan/exported.ts'
import { residual } from '../plan/match.ts'
import { treeId } from '../store/hash.ts'
import type { Manifest } from '../store/manifest.ts'
import type { Context } from './context.ts'
import { engineOptions, readLayersOf } from './read-image.ts'
import { keep, type Layer, type ReadSource } from './read-source.ts'
import { seenOf } from './stack.ts'

/** Throws the codes of openContainer and of reading its image. */
export async function readContainer(name: string, manifest: Manifest, context: Context): Promise<ReadSource> {
  const container = await openContainer(name, {
    ...engineOptions(context),
    pause: context.image.pause !== false,
    undo: context.undo,
  })
  const origin = `container:${name}`
  const { config: text, inspected, own: runtime } = container
  const own = { says: { kind: 'container', name: origin, text, inspected, runtime } } as const
  try {
    const { image } = container
    // an image without layers is nothing to lie over
    if (image === undefined || image.layers.length === 0) {
      const layers = [layerOf(container.tree, origin, manifest)]
      return {
        ...own,
        layers,
        contents: container.contents,
        [Symbol.asyncDispose]: () => container[Symbol.asyncDispose](),
      }
    }
    const below = await readLayersOf(image, manifest, context)
    const dispose = async (): Promise<void> => {
      await below[Symbol.asyncDispose]()
      await container[Symbol.asyncDispose]()
    }
    const layers = layersOver(below.layers, container.tree, { origin, manifest })
    return {
      ...own,
      layers,
      contents: eitherOf(container, below),
      below: below.below,
      stored: image.stored,
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await container[Symbol.asyncDispose]()
    throw error
  }
}

function layersOver(
  layers: readonly Layer[],
  exported: Tree,
  { origin, manifest }: { readonly origin: string; readonly manifest: Manifest },
): Layer[] {
  const below = seenOf(layers)
  const tree = asBelow(exported, below)
  const over = residual(tree, below)
  const split = over === undefined ? [...layers] : [...layers, layerOf(over, origin, manifest)]
  // the law is not taken on trust
  return treeId(seenOf(split)) === treeId(tree) ? split : [layerOf(tree, origin, manifest)]
}

function layerOf(tree: Tree, origin: string, manifest: Manifest): Layer {
  return { id: keep(tree, manifest), origin, history: undefined, tree: () => tree }
}

/** What the container shows is in its export; what it hides of its image is in the image alone. */
function eitherOf(container: OpenContainer, below: Pick<ReadSource, 'contents'>): ReadSource['contents'] {
  const shown = new Map<string, FileEntry>()
  for (const file of filesOf(container.tree)) if (!shown.has(file.sha256)) shown.set(file.sha256, file)
  return (file) => {
    const found = shown.get(file.sha256)
    return found === undefined ? below.contents(file) : container.contents(found)
  }
}

// Reads an image layer by layer; a layer that the local manifest knows is not read again.
import { openLayerFile, type LayerFile } from '../image/layer-file.ts'
import type { EngineOptions } from '../engine/described.ts'
import { openDockerImage } from '../engine/docker.ts'
import { openStorageImage } from '../engine/storage.ts'
import { openImage, type Image, type ImageLayer, type ImageOptions, type ImageRef } from '../image/open.ts'
import { VarveError } from '../errors.ts'
import type { FileEntry } from '../model/entry.ts'
import { settleLayer } from '../model/layer.ts'
import { flatten } from '../model/stack.ts'
import { filesOf, type Tree } from '../model/tree.ts'
import { sha256 } from '../store/hash.ts'
import type { Manifest } from '../store/manifest.ts'
import { spoolDirectoryOf, type Context } from './context.ts'
import { keep, treeOf, type Layer, type Olds, type ReadSource } from './read-source.ts'

export type LayeredRef = ImageRef | { readonly kind: 'docker-daemon' | 'containers-storage'; readonly location: string }

/** Throws the codes of opening the kind of image, and of reading its layers. */
export async function readImage(ref: LayeredRef, manifest: Manifest, context: Context): Promise<ReadSource> {
  const image = await open(ref, context)
  const { layers, contents, below, [Symbol.asyncDispose]: dispose } = await readLayersOf(image, manifest, context)
  const { stored } = image
  return {
    layers,
    contents,
    below,
    stored,
    says: { kind: 'image', text: image.config },
    [Symbol.asyncDispose]: dispose,
  }
}

function open({ kind, location }: LayeredRef, context: Context): Promise<Image> {
  switch (kind) {
    case 'docker-daemon':
      return openDockerImage(location, engineOptions(context))
    case 'containers-storage':
      return openStorageImage(location, engineOptions(context))
    default:
      return openImage({ kind, location }, imageOptions(context))
  }
}

export function engineOptions(context: Context): EngineOptions {
  return {
    ...imageOptions(context),
    spoolDirectory: spoolDirectoryOf(context),
    onProgress: (bytes) => context.onEvent({ kind: 'scan', entries: 0, bytes }),
  }
}

function imageOptions({ environment, image, onEvent }: Context): ImageOptions {
  const { platform, insecure } = image
  return {
    environment,
    ...(platform === undefined ? {} : { platform }),
    ...(insecure === undefined ? {} : { insecure }),
    onWarning: ({ code, message }) => onEvent({ kind: 'warning', code, message }),
  }
}

/** Closes the image, also where it throws. */
export async function readLayersOf(
  image: Image,
  manifest: Manifest,
  context: Context,
): Promise<Pick<ReadSource, 'layers' | 'contents'> & { readonly below: Olds } & AsyncDisposable> {
  const files = new LayerFiles(image, context)
  try {
    const layers = await readLayers(image, { files, manifest })
    const opened = files.depths()
    const whereIs = new Map<string, { depth: number; file: FileEntry }>()
    // the lowest layer that has the contents is the one whose archive holds them
    const find = (contents: string): { depth: number; file: FileEntry } | undefined => {
      if (whereIs.size === 0)
        for (const [depth, layer] of layers.entries())
          for (const found of filesOf(layer.tree()))
            if (!whereIs.has(found.sha256)) whereIs.set(found.sha256, { depth, file: found })
      return whereIs.get(contents)
    }
    return {
      layers,
      contents: (file) => {
        const where = find(file.sha256)
        if (where === undefined) throw new VarveError('E_BUG', 'cannot find the contents of a file in any layer')
        return files.contents(where.depth, where.file)
      },
      below: (contents) => {
        const where = find(contents)
        return where !== undefined && opened.has(where.depth)
          ? () => files.contents(where.depth, where.file)
          : undefined
      },
      [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
    }
  } catch (error) {
    await files[Symbol.asyncDispose]()
    throw error
  }
}

async function readLayers(
  image: Image,
  { files, manifest }: { files: LayerFiles; manifest: Manifest },
): Promise<Layer[]> {
  const chains = chainsOf(image.layers.map(({ diffId }) => diffId))
  const known = chains.map((chain) => {
    const id = manifest.layer(chain)
    return id !== undefined && manifest.summary(id) !== undefined ? id : undefined
  })
  image.expect?.(image.layers.filter((_, depth) => known[depth] === undefined).map(({ diffId }) => diffId))
  const layers: Layer[] = []
  let below: { tree: Tree; of: number } | undefined
  for (const [depth, layer] of image.layers.entries()) {
    let id = known[depth]
    if (id === undefined) {
      const { entries } = await files.open(depth)
      const start = below?.of ?? 0
      const parts = [...(below === undefined ? [] : [below.tree]), ...layers.slice(start).map((each) => each.tree())]
      if (parts.length > 0) below = { tree: parts.length === 1 && parts[0] ? parts[0] : flatten(parts), of: depth }
      id = keep(settleLayer(entries, below?.tree), manifest)
      manifest.keepLayer(chains[depth] ?? '', id)
    }
    const made = id
    layers.push({ id, origin: layer.diffId, history: layer.history, tree: () => treeOf(made, manifest) })
  }
  return layers
}

/** https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md#layer-chainid */
export function chainsOf(diffIds: readonly string[]): string[] {
  const chains: string[] = []
  for (const diffId of diffIds) {
    const below = chains.at(-1)
    chains.push(below === undefined ? diffId : `sha256:${sha256(`${below} ${diffId}`)}`)
  }
  return chains
}

/** Layers opened once each, when first asked for. */
class LayerFiles {
  private readonly image: Image
  private readonly context: Context
  private readonly opened = new Map<number, Promise<LayerFile>>()

  constructor(image: Image, context: Context) {
    this.image = image
    this.context = context
  }

  open(depth: number): Promise<LayerFile> {
    let file = this.opened.get(depth)
    if (file === undefined) {
      file = openLayerFile(this.image.layers[depth] as ImageLayer, {
        spoolDirectory: spoolDirectoryOf(this.context),
        onProgress: (bytes) => this.context.onEvent({ kind: 'scan', entries: 0, bytes }),
      })
      this.opened.set(depth, file)
    }
    return file
  }

  /** Of the layers that are open. */
  depths(): ReadonlySet<number> {
    return new Set(this.opened.keys())
  }

  async *contents(depth: number, { path, size }: FileEntry): AsyncGenerator<Uint8Array> {
    const bytes = (await this.open(depth)).contents(path, size)
    if (bytes instanceof Uint8Array) yield bytes
    else yield* bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.opened.values()) await file.then((open) => open[Symbol.asyncDispose]()).catch(() => {})
    await this.image[Symbol.asyncDispose]()
  }
}

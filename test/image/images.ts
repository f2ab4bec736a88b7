// Images that real tools made, once for a file of tests, and what is in them as varve reads it.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { layerEntries, type LayerEntries } from '../../src/image/layer-entries.ts'
import { openImage, type Image, type ImageOptions, type ImageRef } from '../../src/image/open.ts'
import type { Tree } from '../../src/model/tree.ts'
import { settleLayers } from '../../src/model/stack.ts'
import { collect } from '../tar/raw-header.ts'

export type Images = Disposable & { readonly directory: string; readonly path: (name: string) => string }

/** What make-images.sh leaves, on a file system of its own, which overlay mounts can use. */
export function makeImages(): Images {
  const directory = mkdtempSync(join(tmpdir(), 'varve-images-'))
  execFileSync('mount', ['-t', 'tmpfs', 'varve-images', directory])
  const made = join(directory, 'made')
  mkdirSync(made)
  execFileSync(join(import.meta.dirname, 'make-images.sh'), [made], { stdio: ['ignore', 'pipe', 'inherit'] })
  return {
    directory,
    path: (name) => join(made, name),
    [Symbol.dispose]: () => {
      execFileSync('umount', ['-R', '-l', directory])
      rmSync(directory, { recursive: true })
    },
  }
}

export function open(kind: ImageRef['kind'], location: string, more: Partial<ImageOptions> = {}): Promise<Image> {
  return openImage({ kind, location }, { environment: {}, onWarning: () => {}, ...more })
}

export type ReadImage = {
  readonly image: Image
  readonly raw: readonly LayerEntries[]
  /** Settled, bottom first. */
  readonly trees: readonly Tree[]
  /** Contents of files by SHA-256. */
  readonly contents: ReadonlyMap<string, Buffer>
}

/** All layers, whole; for small images. */
export async function readImage(image: Image): Promise<ReadImage> {
  const raw: LayerEntries[] = []
  const contents = new Map<string, Buffer>()
  for (const layer of image.layers) {
    const archive = await collect(layer.open())
    const read = await layerEntries(one(archive))
    for (const entry of read.tree.entries) {
      const where = read.contents.get(entry.path)
      if (entry.kind === 'file' && where !== undefined)
        contents.set(entry.sha256, archive.subarray(where.offset, where.offset + where.size))
    }
    raw.push(read)
  }
  return { image, raw, trees: settleLayers(raw), contents }
}

async function* one(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes)
}

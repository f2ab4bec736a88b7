// Reads the source once, and remembers in the local manifest what it was.
import { VarveError } from '../errors.ts'
import type { FileEntry } from '../model/entry.ts'
import { sourceText, type FlatRef, type SourceRef } from '../model/names.ts'
import { rootfsBytes, type Tree } from '../model/tree.ts'
import type { Image } from '../image/open.ts'
import { openSource, type Source } from '../source/open.ts'
import { makeHasher, treeId } from '../store/hash.ts'
import type { Manifest, TreeSummary } from '../store/manifest.ts'
import { spoolDirectoryOf, type Context } from './context.ts'
import { readContainer } from './read-container.ts'
import { readImage } from './read-image.ts'

export type Layer = {
  /** Of its tree. */
  readonly id: string
  /** Where it is from: the source, or the layer's diffID. */
  readonly origin: string
  /** The command that made it, where an image tells. */
  readonly history: string | undefined
  readonly tree: () => Tree
}

export type Olds = (sha256: string) => (() => AsyncIterable<Uint8Array> | Uint8Array) | undefined

export type ReadSource = AsyncDisposable & {
  /** Bottom first; one where the source is flat. */
  readonly layers: readonly Layer[]
  /** The bytes of a file of any layer, or of the flattened tree. */
  readonly contents: (file: FileEntry) => AsyncIterable<Uint8Array> | Uint8Array
  readonly says: Says
  /** Contents by SHA-256 that stand in layers which were read just now; undefined where there are none. */
  readonly below?: Olds
  /** See Image. */
  readonly stored?: Image['stored'] | undefined
}

/** What a source says of how it is run, as texts. */
export type Says =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'image'; readonly text: string }
  /** A bundle's config.json. */
  | { readonly kind: 'bundle'; readonly name: string; readonly text: string }
  | {
      readonly kind: 'container'
      readonly name: string
      /** An image config of what it runs. */
      readonly text: string
      /** All that its engine says of it. */
      readonly inspected: string
      /** The config.json that it runs by, where that can be read. */
      readonly runtime: { readonly text: string; readonly path: string } | undefined
    }

/** Throws the errors of the kind of source. */
export async function readSource(ref: SourceRef, manifest: Manifest, context: Context): Promise<ReadSource> {
  context.onEvent({ kind: 'step', step: 'scan' })
  const { kind, location } = ref
  switch (kind) {
    case 'rootfs':
    case 'tar':
    case 'bundle':
      return readFlat({ kind, location }, manifest, context)
    case 'container':
      return readContainer(location, manifest, context)
    default:
      return readImage({ kind, location }, manifest, context)
  }
}

/** Of a source that is still being read; one that cannot be read holds nothing. */
export function disposing(reading: Promise<ReadSource>): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      const source = await reading.catch(() => undefined)
      await source?.[Symbol.asyncDispose]()
    },
  }
}

async function readFlat(ref: FlatRef, manifest: Manifest, context: Context): Promise<ReadSource> {
  const source = await openSource(ref, {
    hash: await makeHasher(),
    reading: (name) => {
      const reading = manifest.reading(name)
      // a reading is worth nothing once its tree was forgotten
      return reading !== undefined && manifest.summary(reading.tree) !== undefined ? reading : undefined
    },
    stdin: context.stdin,
    spoolDirectory: spoolDirectoryOf(context),
    onWarning: ({ code, message }) => context.onEvent({ kind: 'warning', code, message }),
    onProgress: ({ entries, bytes }) => context.onEvent({ kind: 'scan', entries, bytes }),
  })
  const id = source.tree.kind === 'unchanged' ? source.tree.id : remember(source, source.tree.tree, manifest)
  const tree = (): Tree => (source.tree.kind === 'read' ? source.tree.tree : treeOf(id, manifest))
  return {
    layers: [{ id, origin: sourceText(ref), history: undefined, tree }],
    contents: source.contents,
    says:
      source.config === undefined
        ? { kind: 'nothing' }
        : { kind: 'bundle', name: sourceText(ref), text: source.config },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}

function remember(source: Source, tree: Tree, manifest: Manifest): string {
  const id = treeId(tree)
  manifest.keepTree(id, tree)
  if (source.reading !== undefined)
    manifest.keepReading(source.reading.name, { digest: source.reading.digest, tree: id, facts: source.reading.facts })
  return id
}

export function treeOf(id: string, manifest: Manifest): Tree {
  const tree = manifest.tree(id)
  if (tree === undefined) throw new VarveError('E_BUG', `cannot find the tree ${id} in the local manifest`)
  return tree
}

/** Keeps a tree that was made here, and what it is called. */
export function keep(tree: Tree, manifest: Manifest): string {
  const id = treeId(tree)
  manifest.keepTree(id, tree)
  return id
}

/** How large a tree is that is known by its id alone, or by its entries. */
export function sizeOf(id: string, tree: () => Tree, manifest: Manifest): TreeSummary {
  const known = manifest.summary(id)
  if (known !== undefined) return known
  const made = tree()
  return { entries: made.entries.length, bytes: rootfsBytes(made) }
}

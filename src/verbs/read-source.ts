// Reads the source once, and remembers in the local manifest what it was.
import { VarveError } from '../errors.ts'
import type { FileEntry } from '../model/entry.ts'
import type { SourceRef } from '../model/names.ts'
import type { Tree } from '../model/tree.ts'
import { openSource, type Source } from '../source/open.ts'
import { makeHasher, treeId } from '../store/hash.ts'
import type { Manifest } from '../store/manifest.ts'
import { spoolDirectoryOf, type Context } from './context.ts'

export type ReadSource = AsyncDisposable & {
  readonly id: string
  readonly entries: number
  readonly bytes: number
  readonly tree: () => Tree
  readonly contents: (file: FileEntry) => AsyncIterable<Uint8Array> | Uint8Array
  readonly config: string | undefined
}

export async function readSource(ref: SourceRef, manifest: Manifest, context: Context): Promise<ReadSource> {
  context.onEvent({ kind: 'step', step: 'scan' })
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
  const summary = manifest.summary(id)
  if (summary === undefined) throw new VarveError('E_BUG', 'cannot find a tree that was just kept')
  return {
    id,
    ...summary,
    tree: () => (source.tree.kind === 'read' ? source.tree.tree : treeOf(id, manifest)),
    contents: source.contents,
    config: source.config,
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

// Explains what a push is so large for: by package, where the tree's own databases are at hand, and by file.
import { byteString, printable, type ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { SourceRef } from '../model/names.ts'
import { filesOf } from '../model/tree.ts'
import { costOf } from '../plan/cost.ts'
import { databasesAmong, ownersOf, type Package } from '../plan/packages.ts'
import type { Asked, Shipment, Wanted } from './prepare.ts'
import type { ReadSource } from './read-source.ts'
import { seenOf } from './stack.ts'

/** Names, versions and paths are as `printable` shows them; sizes are of contents before they are compressed. */
export type Cost = {
  /** Largest first; the name is null for what no package is known to own. */
  readonly packages: readonly {
    readonly name: string | null
    readonly version: string | null
    readonly files: number
    readonly bytes: number
  }[]
  /** All files whose contents are sent, largest first. */
  readonly files: readonly {
    readonly path: string
    readonly bytes: number
    readonly layer: string
    readonly package: string | null
  }[]
}

export async function explain(shipments: readonly Shipment[], wanted: Wanted, at: Asked): Promise<Cost> {
  const { packages, files } = costOf(
    shipments.map(({ plan }) => plan),
    await ownersFor(shipments, wanted, at),
  )
  return {
    packages: packages.map(({ owner, files: count, bytes }) => ({ ...named(owner), files: count, bytes })),
    files: files.map(({ file, tree, owner }) => ({
      path: printable(file.path),
      bytes: file.size,
      layer: tree,
      package: named(owner).name,
    })),
  }
}

function named(owner: Package | undefined): { name: string | null; version: string | null } {
  const shown = (text: string | undefined): string | null => (text === undefined ? null : printable(text))
  return { name: shown(owner?.name), version: shown(owner?.version) }
}

/** Kinds of sources whose every file is at hand; a layer of an image may have to be fetched for its databases alone. */
const AT_HAND: readonly SourceRef['kind'][] = ['rootfs', 'tar', 'bundle', 'container']

async function ownersFor(
  shipments: readonly Shipment[],
  wanted: Wanted,
  { options, source }: Asked,
): Promise<ReadonlyMap<ByteString, Package>> {
  const sent = shipments.flatMap(({ plan }) => plan.steps.flatMap((step) => (step.kind === 'send' ? [step.entry] : [])))
  if (sent.length === 0) return new Map()
  const seen = seenOf(wanted.layers)
  const files = databasesAmong(AT_HAND.includes(options.source.kind) ? filesOf(seen) : sent)
  const databases: { path: ByteString; text: ByteString }[] = []
  for (const file of files) databases.push({ path: file.path, text: await textOf(file, source) })
  return ownersOf(databases, seen)
}

async function textOf(file: FileEntry, { contents }: ReadSource): Promise<ByteString> {
  const chunks: Uint8Array[] = []
  const bytes = contents(file)
  if (bytes instanceof Uint8Array) chunks.push(bytes)
  else for await (const chunk of bytes) chunks.push(chunk)
  return byteString(Buffer.concat(chunks).toString('latin1'))
}

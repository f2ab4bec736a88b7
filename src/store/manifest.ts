// What the local manifest is asked: trees, readings of sources, and what hosts were last known to hold.
import { byteString, type ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { FileFact, Reading } from '../model/facts.ts'
import { decodeManifest, encodeManifest } from '../model/manifest.ts'
import { filesOf, rootfsBytes, type Tree } from '../model/tree.ts'
import { openCache, type ContentCache } from './cache.ts'
import { openDatabase } from './database.ts'
import { openUploads, type Uploads } from './uploads.ts'
import { packFacts, unpackFacts } from './facts.ts'

export type TreeSummary = { readonly entries: number; readonly bytes: number }

export type Found = { readonly tree: string; readonly file: FileEntry; readonly alone: boolean }

export type Manifest = Disposable & {
  /** Bytes of files, kept beside the database. */
  readonly contents: ContentCache
  readonly uploads: Uploads
  reading(source: string): Reading | undefined
  keepReading(source: string, reading: { digest: bigint; tree: string; facts: ReadonlyMap<ByteString, FileFact> }): void
  summary(tree: string): TreeSummary | undefined
  tree(id: string): Tree | undefined
  keepTree(id: string, tree: Tree): void
  /** What `find` and `rank` do for trees that they were not asked of before. */
  index(trees: readonly string[]): void
  /** The tree of a layer, by its ChainID (https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md#layer-chainid). */
  layer(chain: string): string | undefined
  keepLayer(chain: string, tree: string): void
  /** What a container sees of a stack of trees, as far as it was ever laid together: its id and size. */
  stack(trees: readonly string[]): (TreeSummary & { readonly flat: string }) | undefined
  keepStack(trees: readonly string[], seen: TreeSummary & { readonly flat: string }): void
  /** The trees that the host held at this epoch; undefined where nothing is known of that epoch. */
  holdings(host: string, epoch: string): string[] | undefined
  keepHoldings(host: string, epoch: string, trees: readonly string[]): void
  /** Files with these contents (SHA-256) in any of the trees, the first found for each; `alone` under one name only. */
  find(contents: readonly string[], trees: readonly string[]): Map<string, Found>
  /** How many of these contents each tree holds, most first. */
  rank(contents: readonly string[], trees: readonly string[]): { tree: string; count: number }[]
}

export function openManifest(directory: string): Manifest {
  const database = openDatabase(directory)
  const decoded = new Map<string, Tree>()

  // what is kept is written when there is time for it: at the latest when the manifest is closed
  const waiting: (() => void)[] = []
  const sizes = new Map<string, TreeSummary>()
  const write = database.transaction((writes: readonly (() => void)[]) => {
    for (const one of writes) one()
  })
  const flush = (): void => {
    if (waiting.length > 0) write.immediate(waiting.splice(0))
    sizes.clear()
  }

  const tree = (id: string): Tree | undefined => {
    const known = decoded.get(id)
    if (known !== undefined) return known
    const row = database.prepare<[string], { manifest: Buffer }>('SELECT manifest FROM tree WHERE id = ?').get(id)
    if (row === undefined) return undefined
    const made = decodeManifest(byteString(row.manifest.toString('latin1')))
    decoded.set(id, made)
    return made
  }

  const index = (ids: readonly string[]): void => {
    flush()
    const missing = database
      .prepare<[string], { key: number; id: string }>(
        'SELECT key, id FROM tree WHERE indexed = 0 AND id IN (SELECT value FROM json_each(?))',
      )
      .all(JSON.stringify(ids))
    const insert = database.prepare('INSERT OR IGNORE INTO contents (sha256, tree, position) VALUES (?, ?, ?)')
    for (const { key, id } of missing) {
      const files = filesOf(tree(id) ?? { entries: [] })
      const rows = files
        .map((file, position) => ({ sha: Buffer.from(file.sha256, 'hex'), position }))
        .toSorted((a, b) => Buffer.compare(a.sha, b.sha))
      database
        .transaction(() => {
          for (const row of rows) insert.run(row.sha, key, row.position)
          database.prepare('UPDATE tree SET indexed = 1 WHERE key = ?').run(key)
        })
        .immediate()
    }
  }

  return {
    contents: openCache(directory, database),
    uploads: openUploads(database),
    reading(source) {
      flush()
      const row = database
        .prepare<[Buffer], { digest: Buffer; tree: string; facts: Buffer }>(
          'SELECT digest, tree, facts FROM source WHERE name = ?',
        )
        .get(Buffer.from(source))
      return row && { digest: row.digest.readBigUInt64BE(), tree: row.tree, facts: () => unpackFacts(row.facts) }
    },
    keepReading(source, reading) {
      const digest = Buffer.alloc(8)
      digest.writeBigUInt64BE(reading.digest)
      waiting.push(() =>
        database
          .prepare('INSERT OR REPLACE INTO source (name, digest, tree, facts) VALUES (?, ?, ?, ?)')
          .run(Buffer.from(source), digest, reading.tree, packFacts(reading.facts)),
      )
    },
    summary: (id) =>
      sizes.get(id) ?? database.prepare<[string], TreeSummary>('SELECT entries, bytes FROM tree WHERE id = ?').get(id),
    tree,
    keepTree(id, made) {
      decoded.set(id, made)
      const size = { entries: made.entries.length, bytes: rootfsBytes(made) }
      sizes.set(id, size)
      waiting.push(() => {
        const manifest = Buffer.concat(Array.from(encodeManifest(made), (piece) => Buffer.from(piece, 'latin1')))
        database
          .prepare('INSERT OR IGNORE INTO tree (id, entries, bytes, manifest) VALUES (?, ?, ?, ?)')
          .run(id, size.entries, size.bytes, manifest)
      })
    },
    index,
    layer: (chain) =>
      database.prepare<[string], { tree: string }>('SELECT tree FROM layer WHERE chain = ?').get(chain)?.tree,
    // what names trees is never written before them
    keepLayer(chain, made) {
      flush()
      database.prepare('INSERT OR REPLACE INTO layer (chain, tree) VALUES (?, ?)').run(chain, made)
    },
    stack: (trees) =>
      database
        .prepare<[string], TreeSummary & { flat: string }>('SELECT flat, entries, bytes FROM stack WHERE trees = ?')
        .get(trees.join(',')),
    keepStack(trees, { flat, entries, bytes }) {
      flush()
      database
        .prepare('INSERT OR REPLACE INTO stack (trees, flat, entries, bytes) VALUES (?, ?, ?, ?)')
        .run(trees.join(','), flat, entries, bytes)
    },
    holdings(host, epoch) {
      const row = database.prepare<[string], { epoch: string }>('SELECT epoch FROM host WHERE name = ?').get(host)
      if (row?.epoch !== epoch) return undefined
      return database
        .prepare<[string], { tree: string }>('SELECT tree FROM holding WHERE host = ?')
        .all(host)
        .map((held) => held.tree)
    },
    keepHoldings(host, epoch, trees) {
      database
        .transaction(() => {
          database.prepare('DELETE FROM host WHERE name = ?').run(host)
          database.prepare('INSERT INTO host (name, epoch) VALUES (?, ?)').run(host, epoch)
          database
            .prepare('INSERT INTO holding (host, tree) SELECT ?, value FROM json_each(?)')
            .run(host, JSON.stringify(trees))
        })
        .immediate()
    },
    find(contents, trees) {
      index(trees)
      const rows = database
        .prepare<[string, string], { sha256: Buffer; id: string; position: number }>(
          `SELECT c.sha256, t.id, min(c.position) AS position FROM json_each(?) AS wanted JOIN contents AS c ON c.sha256 = unhex(wanted.value)
           JOIN tree AS t ON t.key = c.tree WHERE t.id IN (SELECT value FROM json_each(?)) GROUP BY c.sha256`,
        )
        .all(JSON.stringify(contents), JSON.stringify(trees))
      const files = new Map<string, FileEntry[]>()
      const linked = new Map<string, Set<ByteString>>()
      const found = new Map<string, Found>()
      for (const row of rows) {
        const inTree = files.get(row.id) ?? filesOf(tree(row.id) ?? { entries: [] })
        const groups = linked.get(row.id) ?? new Set(inTree.filter((f) => f.first !== f.path).map((f) => f.first))
        files.set(row.id, inTree)
        linked.set(row.id, groups)
        const file = inTree[row.position]
        if (file !== undefined)
          found.set(row.sha256.toString('hex'), { tree: row.id, file, alone: !groups.has(file.first) })
      }
      return found
    },
    rank(contents, trees) {
      index(trees)
      return database
        .prepare<[string, string], { tree: string; count: number }>(
          `SELECT t.id AS tree, count(DISTINCT c.sha256) AS count FROM json_each(?) AS wanted JOIN contents AS c ON c.sha256 = unhex(wanted.value)
           JOIN tree AS t ON t.key = c.tree WHERE t.id IN (SELECT value FROM json_each(?)) GROUP BY t.id ORDER BY count DESC, t.id`,
        )
        .all(JSON.stringify(contents), JSON.stringify(trees))
    },
    [Symbol.dispose]() {
      flush()
      database.exec('PRAGMA optimize')
      database.close()
    },
  }
}

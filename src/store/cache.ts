// Keeps the contents that were sent, compressed, so that the next delta can be made against them. Losing them costs bytes only.
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import zstd from 'zstd-napi'
import type { Handle } from './database.ts'
import { sha256 as sha256Of } from './hash.ts'
import { sketchOf } from './sketch.ts'

export type CacheSize = { readonly contents: number; readonly packs: number; readonly bytes: number }

export type ContentCache = {
  has(sha256: string): boolean
  /** Undefined where it is not kept, or not whole any more. */
  get(sha256: string): Buffer | undefined
  /** Of those among these contents that are kept, as far as they have one. */
  sketches(contents: Iterable<string>): Map<string, Int32Array>
  /** Does nothing where it is kept, where it is too large, and where the disk takes no more. */
  add(sha256: string, bytes: Uint8Array): void
  /** What was added stays; the packs that were not used for longest go until `limit` bytes are left. */
  commit(limit: number): void
  size(): CacheSize
  /** Frees down to `limit` bytes; how many were freed. */
  prune(limit: number): number
}

/** Larger contents are not kept: one would push out all others. */
const LARGEST = 256 << 20
const DAY_MS = 86_400_000

type Row = { readonly key: number; readonly name: string; readonly position: number; readonly length: number }

export function openCache(stateDirectory: string, database: Handle): ContentCache {
  const directory = join(stateDirectory, 'cache')
  const used = new Set<number>()
  let pack: { readonly name: string; readonly file: number; size: number } | undefined
  let added = new Map<string, Omit<Row, 'key' | 'name'> & { readonly sketch: Buffer | null }>()
  let refused = false

  const place = database.prepare<[Buffer], Row>(
    'SELECT pack.key, pack.name, position, length FROM cached JOIN pack ON pack.key = cached.pack WHERE sha256 = ?',
  )
  const where = (sha256: string): Row | undefined => place.get(Buffer.from(sha256, 'hex'))

  const prune = (limit: number): number => {
    const packs = database
      .prepare<[], { key: number; name: string; bytes: number }>(
        'SELECT key, name, bytes FROM pack ORDER BY used DESC, key DESC',
      )
      .all()
    let left = 0
    let freed = 0
    for (const { key, name, bytes } of packs) {
      if (left + bytes <= limit) left += bytes
      else {
        database.prepare('DELETE FROM pack WHERE key = ?').run(key)
        rmSync(join(directory, name), { force: true })
        freed += bytes
      }
    }
    return freed
  }

  return {
    has: (sha256) => added.has(sha256) || where(sha256) !== undefined,
    get(sha256) {
      const row = where(sha256)
      if (row === undefined) return undefined
      const bytes = readPacked(join(directory, row.name), row)
      if (bytes !== undefined && sha256Of(bytes) === sha256) {
        used.add(row.key)
        return bytes
      }
      database.prepare('DELETE FROM cached WHERE sha256 = ?').run(Buffer.from(sha256, 'hex'))
      return undefined
    },
    sketches(contents) {
      const sketch = database.prepare<[Buffer], { sketch: Buffer | null }>('SELECT sketch FROM cached WHERE sha256 = ?')
      const found = new Map<string, Int32Array>()
      for (const sha256 of new Set(contents)) {
        const packed = sketch.get(Buffer.from(sha256, 'hex'))?.sketch
        if (packed) found.set(sha256, new Int32Array(Uint8Array.from(packed).buffer))
      }
      return found
    },
    add(sha256, bytes) {
      if (refused || bytes.length === 0 || bytes.length > LARGEST || added.has(sha256) || where(sha256) !== undefined)
        return
      try {
        const compressed = zstd.compress(bytes, { compressionLevel: 3 })
        pack ??= newPack(directory)
        writeSync(pack.file, compressed)
        const sketch = sketchOf(bytes)
        added.set(sha256, {
          position: pack.size,
          length: compressed.length,
          sketch: sketch === undefined ? null : Buffer.from(sketch.buffer),
        })
        pack.size += compressed.length
      } catch {
        refused = true // a full disk: what is in the pack so far is good
      }
    },
    commit(limit) {
      const now = Date.now()
      database
        .transaction(() => {
          for (const key of used) database.prepare('UPDATE pack SET used = ? WHERE key = ?').run(now, key)
          if (pack === undefined) return
          const { lastInsertRowid } = database
            .prepare('INSERT INTO pack (name, bytes, used) VALUES (?, ?, ?)')
            .run(pack.name, pack.size, now)
          const insert = database.prepare(
            'INSERT OR IGNORE INTO cached (sha256, pack, position, length, sketch) VALUES (?, ?, ?, ?, ?)',
          )
          for (const [sha256, { position, length, sketch }] of added)
            insert.run(Buffer.from(sha256, 'hex'), lastInsertRowid, position, length, sketch)
        })
        .immediate()
      if (pack !== undefined) closeSync(pack.file)
      pack = undefined
      added = new Map()
      removeStrays(directory, database)
      prune(limit)
    },
    size() {
      const packs = database.prepare<[], { packs: number; bytes: number | null }>('SELECT count(*) AS packs, sum(bytes) AS bytes FROM pack').get() // prettier-ignore
      const contents = Number(database.prepare('SELECT count(*) FROM cached').pluck().get())
      return { contents, packs: packs?.packs ?? 0, bytes: packs?.bytes ?? 0 }
    },
    prune,
  }
}

function newPack(directory: string): { name: string; file: number; size: number } {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const name = `${randomBytes(16).toString('hex')}.pack`
  return { name, file: openSync(join(directory, name), 'wx', 0o600), size: 0 }
}

function readPacked(file: string, { position, length }: Row): Buffer | undefined {
  let handle: number | undefined
  try {
    handle = openSync(file, 'r')
    const compressed = Buffer.allocUnsafe(length)
    return readSync(handle, compressed, 0, length, position) === length ? zstd.decompress(compressed) : undefined
  } catch {
    return undefined
  } finally {
    if (handle !== undefined) closeSync(handle)
  }
}

/** Packs of runs that were killed, or of a database that was lost. */
function removeStrays(directory: string, database: Handle): void {
  if (!existsSync(directory)) return
  const known = database.prepare('SELECT 1 FROM pack WHERE name = ?')
  for (const name of readdirSync(directory)) {
    const file = join(directory, name)
    if (known.get(name) === undefined && statSync(file).mtimeMs < Date.now() - DAY_MS) rmSync(file, { force: true })
  }
}

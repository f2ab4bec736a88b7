// The local manifest: what it remembers, and that losing or damaging it costs nothing but time.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import { makeTree } from '../../src/model/tree.ts'
import { treeId } from '../../src/store/hash.ts'
import { openManifest } from '../../src/store/manifest.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'varve-state-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const meta = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 1n, xattrs: [] }
const path = byteString('raw\xff\nname')
const sha256 = 'ab'.repeat(32)
const tree = makeTree([
  { kind: 'directory', path: byteString(''), ...meta },
  { kind: 'file', path, ...meta, size: 3, sha256, first: path },
])
const id = treeId(tree)

test('openManifest() keeps trees, readings and holdings over a restart', () => {
  const fact = { dev: 1, ino: 2n ** 63n, size: 3, mtimeNs: -4n, ctimeNs: 5n, xxh64: 2n ** 64n - 1n, sha256 }
  {
    using manifest = openManifest(directory)
    manifest.keepTree(id, tree)
    manifest.keepReading('rootfs:/a', { digest: 2n ** 64n - 2n, tree: id, facts: new Map([[path, fact]]) })
    manifest.keepHoldings('host', 'e1', [id])
  }
  using manifest = openManifest(directory)
  expect(manifest.tree(id)).toEqual(tree)
  expect(manifest.summary(id)).toEqual({ entries: 2, bytes: 3 })
  expect(manifest.reading('rootfs:/a')).toMatchObject({ digest: 2n ** 64n - 2n, tree: id })
  expect(manifest.reading('rootfs:/a')?.facts()).toEqual(new Map([[path, fact]]))
  expect(manifest.holdings('host', 'e1')).toEqual([id])
  expect(manifest.holdings('host', 'e2')).toBeUndefined()
})

test('find() and rank() look through the trees they are given only', () => {
  using manifest = openManifest(directory)
  manifest.keepTree(id, tree)
  expect(manifest.find([sha256, 'cd'.repeat(32)], [id]).get(sha256)).toMatchObject({ tree: id, file: { path } })
  expect(manifest.rank([sha256], [id])).toEqual([{ tree: id, count: 1 }])
  expect(manifest.find([sha256], []).size).toBe(0)
})

test('openManifest() sets a damaged database aside and begins anew', () => {
  writeFileSync(
    join(directory, 'manifest.db'),
    'no database at all, but longer than a header of SQLite would be'.repeat(20),
  )
  using manifest = openManifest(directory)
  expect(manifest.tree(id)).toBeUndefined()
  expect(readdirSync(directory)).toContain('manifest.db.corrupt-1')
})

test('uploads are begun behind all names under which something may have been sent, until one has ended', () => {
  using manifest = openManifest(directory)
  const begin = (): { readonly name: string; readonly begun: readonly string[] } =>
    manifest.uploads.begin('host', 'delta')
  const first = begin()
  expect(first.begun).toEqual([])
  const second = begin()
  expect(second.begun).toEqual([first.name])
  const third = begin()
  expect(third.begun).toEqual([second.name, first.name])
  expect(manifest.uploads.begin('host', 'other').begun).toEqual([])
  for (let more = 0; more < 20; more++) begin()
  expect(begin().begun).toHaveLength(8)
  manifest.uploads.end('host', 'delta')
  expect(begin().begun).toEqual([])
})

// Layers for tests: a few written by hand, and any number that fast-check thinks up over a small alphabet of names.
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { byteString, type ByteString } from '../../src/model/bytes.ts'
import { parentOf, type Entry, type Metadata } from '../../src/model/entry.ts'
import type { RawLayer } from '../../src/model/layer.ts'
import { makeTree } from '../../src/model/tree.ts'

export type Part =
  | { readonly put: 'd' | 'f' | 's' | 'p'; readonly path: string; readonly mark: number; readonly link?: string }
  | { readonly put: 'whiteout' | 'opaque'; readonly path: string }
  | { readonly put: 'link'; readonly path: string; readonly to: string }

const IMPLIED: Metadata = { mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }

/** What a file of this mark holds. */
export function contentsOf(mark: number): string {
  return `contents ${mark}`
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/**
 * A layer of these parts; a part that cannot stand where those before it do is left out, and so is a link to what the
 * layer has itself. `link` makes a file share the inode of one that the layer has.
 */
export function layerOf(...parts: readonly Part[]): RawLayer {
  const entries = new Map<string, Entry>()
  const implied = new Set<ByteString>(['' as ByteString])
  const whiteouts = new Set<ByteString>()
  const opaque = new Set<ByteString>()
  const links = new Map<ByteString, ByteString>()
  const put = (entry: Entry): void => void entries.set(entry.path, entry)
  put({ kind: 'directory', path: byteString(''), ...IMPLIED })
  const parents = (path: ByteString): boolean => {
    if (path === '') return true
    const above = entries.get(parentOf(path))
    if (above !== undefined) return above.kind === 'directory'
    if (links.has(parentOf(path)) || !parents(parentOf(path))) return false
    put({ kind: 'directory', path: parentOf(path), ...IMPLIED })
    implied.add(parentOf(path))
    return true
  }
  for (const part of parts) {
    const path = byteString(part.path)
    if (!parents(path)) continue
    if (part.put === 'whiteout') whiteouts.add(path)
    else if (part.put === 'opaque') {
      if (links.has(path) || !parents(byteString(`${path === '' ? '' : `${path}/`}x`))) continue
      opaque.add(path)
    } else if (part.put === 'd' && entries.get(path)?.kind === 'directory') {
      put({ kind: 'directory', path, ...metadata(part.mark) })
      implied.delete(path)
    } else if (entries.has(path) || links.has(path)) continue
    else if (part.put === 'link') links.set(path, byteString(part.to))
    else if ('mark' in part) put(entryOf(path, part, entries))
  }
  for (const [path, target] of links) if (entries.has(target) || links.has(target)) links.delete(path)
  return { tree: makeTree(regrouped([...entries.values()])), implied, whiteouts, opaque, links }
}

function entryOf(path: ByteString, part: Extract<Part, { mark: number }>, entries: ReadonlyMap<string, Entry>): Entry {
  const meta = metadata(part.mark)
  switch (part.put) {
    case 'd':
      return { kind: 'directory', path, ...meta }
    case 's':
      return { kind: 'symlink', path, ...meta, mode: 0o777, xattrs: [], target: byteString(contentsOf(part.mark)) }
    case 'p':
      return { kind: 'fifo', path, ...meta, xattrs: [], major: 0, minor: 0 }
    case 'f': {
      const linked = part.link === undefined ? undefined : entries.get(part.link)
      if (linked?.kind === 'file') return { ...linked, path }
      const text = contentsOf(part.mark)
      return { kind: 'file', path, ...meta, size: text.length, sha256: sha256(text), first: path }
    }
  }
}

function regrouped(entries: readonly Entry[]): Entry[] {
  return entries.map((entry) => {
    if (entry.kind !== 'file') return entry
    const group = entries.filter((other) => other.kind === 'file' && other.first === entry.first)
    return { ...entry, first: group.map(({ path }) => path).toSorted()[0] ?? entry.path }
  })
}

function metadata(mark: number): Metadata {
  const xattrs = mark % 3 === 0 ? [{ name: byteString('user.note'), value: byteString(`${mark}`) }] : []
  return { mode: mark % 2 === 0 ? 0o755 : 0o700, uid: mark, gid: mark, mtimeNs: BigInt(mark) * 10n ** 9n, xattrs }
}

const path = fc
  .array(fc.constantFrom('a', 'b', 'a.', 'c'), { minLength: 1, maxLength: 3 })
  .map((names) => names.join('/'))
const part: fc.Arbitrary<Part> = fc.oneof(
  fc.record({ put: fc.constantFrom('d' as const, 'd' as const, 'f' as const, 's' as const, 'p' as const), path, mark: fc.integer({ min: 1, max: 9 }) }), // prettier-ignore
  fc.record({ put: fc.constant('f' as const), path, mark: fc.integer({ min: 1, max: 9 }), link: path }),
  fc.record({ put: fc.constant('whiteout' as const), path }),
  fc.record({ put: fc.constant('opaque' as const), path: fc.oneof({ weight: 5, arbitrary: path }, fc.constant('')) }),
)

/** Layers without links into layers below, bottom first. */
export const anyLayers: fc.Arbitrary<RawLayer[]> = fc.array(
  fc.array(part, { maxLength: 12 }).map((parts) => layerOf(...parts)),
  { minLength: 1, maxLength: 5 },
)

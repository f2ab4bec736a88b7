// Files that fast-check makes up and changes: each path an inode, so that a test sees which names share one.
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { byteString, type ByteString } from '../../src/model/bytes.ts'
import { parentOf, type Entry, type Metadata } from '../../src/model/entry.ts'
import { makeTree, type Tree } from '../../src/model/tree.ts'

type Own<E> = E extends Entry ? Omit<E, 'path' | 'first'> : never

/** What is at a path, or at several that hard links join. */
export type Inode = { is: Own<Entry> }
export type Files = Map<ByteString, Inode>

export type Operation =
  | { readonly do: 'put'; readonly kind: Entry['kind']; readonly path: string; readonly mark: number; readonly meta: number } // prettier-ignore
  | { readonly do: 'link' | 'move'; readonly path: string; readonly to: string }
  | { readonly do: 'touch'; readonly path: string; readonly meta: number }
  | { readonly do: 'remove'; readonly path: string }

const ROOT = byteString('')

/** An operation that cannot be done where it stands does nothing. */
export function filesAfter(operations: readonly Operation[]): Files {
  const files: Files = new Map([[ROOT, inode('directory', 0, 0)]])
  for (const operation of operations) change(files, operation)
  return files
}

function change(files: Files, operation: Operation): void {
  const path = byteString(operation.path)
  const old = files.get(path)
  const free = (at: ByteString): boolean => !files.has(at) && files.get(parentOf(at))?.is.kind === 'directory'
  switch (operation.do) {
    case 'put':
      if (old !== undefined && (old.is.kind !== 'directory' || operation.kind !== 'directory')) remove(files, path)
      if (free(path)) files.set(path, inode(operation.kind, operation.mark, operation.meta))
      break
    case 'link':
      if (old?.is.kind === 'file' && free(byteString(operation.to))) files.set(byteString(operation.to), old)
      break
    case 'move':
      if (old === undefined || `${operation.to}/`.startsWith(`${path}/`) || !free(byteString(operation.to))) break
      for (const [each, found] of [...files].filter(([each]) => isAtOrBelow(each, path))) {
        files.delete(each)
        files.set(byteString(operation.to + each.slice(path.length)), found)
      }
      break
    case 'touch':
      if (old !== undefined) old.is = { ...old.is, ...metadata(old.is.kind, operation.meta) }
      break
    case 'remove':
      remove(files, path)
  }
}

export function isAtOrBelow(path: ByteString, top: ByteString): boolean {
  return path === top || path.startsWith(`${top}/`)
}

function remove(files: Files, top: ByteString): void {
  for (const path of files.keys()) if (isAtOrBelow(path, top)) files.delete(path)
}

function inode(kind: Entry['kind'], mark: number, meta: number): Inode {
  const given = metadata(kind, meta)
  if (kind === 'directory') return { is: { kind, ...given } }
  if (kind === 'symlink') return { is: { kind, ...given, target: byteString(`to ${mark}`) } }
  if (kind !== 'file') return { is: { kind, ...given, major: kind === 'fifo' ? 0 : mark, minor: 0 } }
  // of some it is worth saying that they are there twice
  const contents = 'x'.repeat(mark * 200)
  return { is: { kind, ...given, size: contents.length, sha256: createHash('sha256').update(contents).digest('hex') } }
}

function metadata(kind: Entry['kind'], meta: number): Metadata {
  return {
    mode: kind === 'symlink' ? 0o777 : 0o700,
    uid: meta % 2,
    gid: 0,
    mtimeNs: BigInt(meta),
    xattrs: meta < 3 ? [] : [{ name: byteString('user.a'), value: byteString(`${meta}`) }],
  }
}

/** The tree of these files; names of one inode are a hard-link group. */
export function treeOf(files: Files): Tree {
  const first = new Map<Inode, ByteString>()
  for (const path of [...files.keys()].toSorted()) {
    const found = files.get(path)
    if (found !== undefined && !first.has(found)) first.set(found, path)
  }
  return makeTree(
    [...files].map(([path, found]): Entry =>
      found.is.kind === 'file' ? { ...found.is, path, first: first.get(found) ?? path } : { ...found.is, path },
    ),
  )
}

/** The files of a tree, with inodes of their own. */
export function filesIn(tree: Tree): Files {
  const files: Files = new Map()
  for (const { path, ...entry } of tree.entries) {
    if (entry.kind !== 'file') files.set(path, { is: entry })
    else {
      const { first, ...is } = entry
      files.set(path, files.get(first) ?? { is })
    }
  }
  return files
}

const names = fc.constantFrom('a', 'b', 'a.')
const path = fc.array(names, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const mark = fc.integer({ min: 1, max: 4 })
const meta = fc.integer({ min: 0, max: 4 })
const kind = fc.constantFrom<Entry['kind'][]>('file', 'file', 'file', 'directory', 'directory', 'symlink', 'fifo', 'char') // prettier-ignore

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), kind, path, mark, meta }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('link' as const, 'move' as const), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('touch' as const), path, meta }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), path }) },
)
const operations = fc.array(operation, { maxLength: 16 })

/** What a host may have, and what it is to have: something else, or what it has after some changes. */
export const anyTrees = fc
  .record({
    before: operations,
    after: operations,
    unlike: fc.boolean(),
    others: fc.array(operations, { maxLength: 2 }),
  })
  .map(({ before, after, unlike, others }) => ({
    base: treeOf(filesAfter(before)),
    target: treeOf(filesAfter(unlike ? after : [...before, ...after])),
    others: others.map((each) => treeOf(filesAfter(each))),
  }))

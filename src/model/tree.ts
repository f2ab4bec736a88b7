// A set of entries in byte order, and the laws that make it a root filesystem: parents are directories, links have targets.
import { VarveError } from '../errors.ts'
import { printable, type ByteString } from './bytes.ts'
import { parentOf, type Entry, type FileEntry } from './entry.ts'

/** Entries sorted by path in byte order, the root (path '') first. Made only by `makeTree`, so it can be trusted. */
export type Tree = { readonly entries: readonly Entry[] }

/**
 * Sorts the entries and checks them: one root, a directory above every entry, no name twice, hard-link groups whose
 * members agree. Throws E_PARENT_NOT_DIR, E_DUP_TYPE or E_HARDLINK.
 */
export function makeTree(unsorted: readonly Entry[]): Tree {
  const entries = unsorted.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const directories = new Set<ByteString>()
  const files = new Map<ByteString, FileEntry>()
  let previous: Entry | undefined
  for (const entry of entries) {
    if (previous?.path === entry.path)
      throw new VarveError('E_DUP_TYPE', `cannot use "${printable(entry.path)}": it is there twice`)
    if (entry.path !== '' && !directories.has(parentOf(entry.path)))
      throw new VarveError(
        'E_PARENT_NOT_DIR',
        `cannot use "${printable(entry.path)}": what is above it is no directory`,
      )
    if (entry.kind === 'directory') directories.add(entry.path)
    if (entry.kind === 'file') {
      files.set(entry.path, entry)
      if (entry.first !== entry.path && files.get(entry.first)?.sha256 !== entry.sha256)
        throw new VarveError(
          'E_HARDLINK',
          `cannot link "${printable(entry.path)}": "${printable(entry.first)}" is not the same file`,
        )
    }
    previous = entry
  }
  if (entries[0]?.path !== '' || entries[0].kind !== 'directory')
    throw new VarveError('E_PATH_ROOT', 'cannot use the tree: it has no root directory')
  return { entries }
}

export function filesOf(tree: Tree): FileEntry[] {
  return tree.entries.filter((entry) => entry.kind === 'file')
}

/** Bytes of all contents, each hard-link group once: what a plain copy of the tree would hold. */
export function rootfsBytes(tree: Tree): number {
  let bytes = 0
  for (const entry of tree.entries) if (entry.kind === 'file' && entry.first === entry.path) bytes += entry.size
  return bytes
}

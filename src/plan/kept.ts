// What two trees have in common: entries that are equal, and paths that may stay as they are.
import type { ByteString } from '../model/bytes.ts'
import { sameMetadata, type Entry } from '../model/entry.ts'
import { filesOf, type Tree } from '../model/tree.ts'

/** Equal in all but the names that share their inode. */
export function sameEntry(a: Entry, b: Entry | undefined): boolean {
  if (b === undefined || a.kind !== b.kind || !sameMetadata(a, b)) return false
  if (a.kind === 'file') return b.kind === 'file' && a.sha256 === b.sha256 && a.size === b.size
  if (a.kind === 'symlink') return b.kind === 'symlink' && a.target === b.target
  if (a.kind === 'directory') return true
  return 'major' in b && a.major === b.major && a.minor === b.minor
}

/** Paths that may stay as they were before: equal in everything, the shape of their hard-link group included. */
export function keptPaths(target: Tree, before: ReadonlyMap<ByteString, Entry>): Set<ByteString> {
  const kept = new Set<ByteString>()
  const toBase = new Map<ByteString, ByteString>()
  const toTarget = new Map<ByteString, ByteString>()
  for (const entry of target.entries) {
    const old = before.get(entry.path)
    if (old === undefined || !sameEntry(entry, old)) continue
    if (entry.kind === 'file' && old.kind === 'file') {
      const group = toBase.get(entry.first) ?? old.first
      if (group !== old.first || (toTarget.get(old.first) ?? entry.first) !== entry.first) continue
      toBase.set(entry.first, old.first)
      toTarget.set(old.first, entry.first)
    }
    kept.add(entry.path)
  }
  // a group is kept whole or made anew whole, so that its new members have a file to be named after
  const broken = new Set(
    filesOf(target)
      .filter((file) => !kept.has(file.path))
      .map((file) => file.first),
  )
  for (const file of filesOf(target)) if (broken.has(file.first)) kept.delete(file.path)
  return kept
}

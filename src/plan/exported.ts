// What an engine's export leaves out of a container's files, put back where the layers below know it.
import type { ByteString } from '../model/bytes.ts'
import type { Entry, FileEntry } from '../model/entry.ts'
import { makeTree, type Tree } from '../model/tree.ts'
import { sameEntry } from './kept.ts'

const SECOND = 1_000_000_000n
/** All that Docker and Podman export of extended attributes. */
const EXPORTED = 'security.capability'

/**
 * An export has times in whole seconds, few extended attributes and no root directory. Where it differs from what is
 * below in nothing else, the container has not changed what is below.
 */
export function asBelow(exported: Tree, below: Tree): Tree {
  const before = new Map(below.entries.map((entry) => [entry.path, entry]))
  const groups = new Map<ByteString, FileEntry[]>()
  for (const entry of exported.entries)
    if (entry.kind === 'file') groups.set(entry.first, [...(groups.get(entry.first) ?? []), entry])
  // names of one inode have one set of metadata: they are taken from below together or not at all
  const whole = new Set<ByteString>()
  for (const [first, files] of groups) {
    const olds = files.map((file) => before.get(file.path))
    const inodes = new Set(olds.map((old) => (old?.kind === 'file' ? old.first : undefined)))
    if (inodes.size === 1 && files.every((file, i) => saysTheSame(file, olds[i]))) whole.add(first)
  }
  const entries = exported.entries.map((entry): Entry => {
    const old = before.get(entry.path)
    if (old === undefined) return entry
    if (entry.path === '') return old
    if (entry.kind === 'file' ? !whole.has(entry.first) : !saysTheSame(entry, old)) return entry
    return { ...entry, mtimeNs: old.mtimeNs, xattrs: old.xattrs }
  })
  return makeTree(entries)
}

function saysTheSame(exported: Entry, old: Entry | undefined): boolean {
  if (old === undefined) return false
  const fraction = ((old.mtimeNs % SECOND) + SECOND) % SECOND
  const mtimeNs = exported.mtimeNs === old.mtimeNs ? old.mtimeNs : old.mtimeNs - fraction
  const xattrs = old.xattrs.filter(({ name }) => name === EXPORTED)
  return sameEntry(exported, { ...old, mtimeNs }) || sameEntry(exported, { ...old, mtimeNs, xattrs })
}

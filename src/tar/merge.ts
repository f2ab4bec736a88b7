// Lays the members of an archive one over another, as unpacking would, and refuses what would leave the tree.
import { VarveError, hasCode, messageOf, type ErrorCode } from '../errors.ts'
import { byteString, printable, type ByteString } from '../model/bytes.ts'
import { parentOf, type Entry, type FileEntry, type Metadata } from '../model/entry.ts'
import { normalisePath } from '../model/path.ts'
import type { TarMember } from './read.ts'

/** A file as one or more names of a tree share it. `contents` says where it is in the uncompressed archive. */
type Inode = {
  readonly metadata: Metadata
  readonly size: number
  readonly sha256: string
  readonly contents: TarContents
}
export type TarContents = Pick<TarMember, 'offset' | 'size' | 'sparse'>
export type Special = Exclude<Entry, FileEntry>

/** A file that was not in the archive when it was linked to. */
type Missing = { readonly target: ByteString }

type Node =
  | { readonly kind: 'file'; readonly inode: Inode | Missing }
  | { readonly kind: Special['kind']; readonly entry: Special }

/** What has been unpacked so far, in thought. */
export type Merge = {
  readonly nodes: Map<ByteString, Node>
  readonly mostEntries: number
  /** Directories that no member named, but that stand above one. */
  readonly implied: Set<ByteString>
  /** Hard links whose target was not there yet. */
  readonly dangling: { readonly path: ByteString; readonly target: ByteString }[]
}

const ROOT = byteString('')
const IMPLIED: Metadata = { mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }

export function emptyMerge(mostEntries: number): Merge {
  return { nodes: new Map(), mostEntries, implied: new Set(), dangling: [] }
}

/** Says whether something of this kind can stand at `path`, and makes the directories above it. */
export function makeRoom(merge: Merge, path: ByteString, kind: Node['kind']): void {
  if (path === '' && kind !== 'directory') throw refused('E_PATH_ROOT', ROOT, `the root is a ${kind}`)
  if (path !== '') makeParents(merge, path)
  const present = merge.nodes.get(path)
  if (present === undefined || present.kind === kind) return
  if (merge.implied.has(path))
    throw refused('E_PARENT_NOT_DIR', path, `it is a ${kind}, and the archive has something beneath it`)
  throw refused('E_DUP_TYPE', path, `it is there twice, as a ${present.kind} and as a ${kind}`)
}

export function putSpecial(merge: Merge, entry: Special): void {
  merge.implied.delete(entry.path)
  merge.nodes.set(entry.path, { kind: entry.kind, entry })
}

export function putFile(merge: Merge, path: ByteString, inode: Inode): void {
  merge.nodes.set(path, { kind: 'file', inode })
}

/** A further name for a file that came before. Throws E_HARDLINK. */
export function putLink(merge: Merge, path: ByteString, rawTarget: ByteString): void {
  makeRoom(merge, path, 'file')
  const target = targetOf(path, rawTarget)
  if (target === path) throw refused('E_HARDLINK', path, 'it is a hard link to itself')
  const node = merge.nodes.get(target)
  if (node === undefined) {
    merge.dangling.push({ path, target })
    merge.nodes.set(path, { kind: 'file', inode: { target } })
  } else if (node.kind === 'file') merge.nodes.set(path, node)
  else
    throw refused('E_HARDLINK', path, `it is a hard link to "${printable(target)}", which is a ${node.kind}`, {
      hint: 'make the archive with tar --hard-dereference',
    })
}

/** What a merge comes to. */
export type Merged = {
  /** Not sorted. */
  readonly entries: Entry[]
  /** Where the contents of all files are. */
  readonly contents: Map<ByteString, TarContents>
  /** Hard links, by path, to what the archive does not have. */
  readonly links: Map<ByteString, ByteString>
}

/** Throws E_HARDLINK for a target that came late or, unless links may lead to what is `elsewhere`, never. */
export function finishMerge(merge: Merge, elsewhere = false): Merged {
  const { nodes } = merge
  for (const { path, target } of merge.dangling) {
    const late = nodes.has(target)
    if (!late && elsewhere) continue
    const why = late ? 'which comes after it' : 'which is not in the archive'
    throw refused('E_HARDLINK', path, `it is a hard link to "${printable(target)}", ${why}`)
  }
  if (!nodes.has(ROOT)) putSpecial(merge, impliedDirectory(ROOT))
  const firsts = new Map<Inode | Missing, ByteString>()
  for (const [path, node] of nodes) {
    if (node.kind !== 'file') continue
    const first = firsts.get(node.inode)
    if (first === undefined || path < first) firsts.set(node.inode, path)
  }
  const merged: Merged = { entries: [], contents: new Map(), links: new Map() }
  for (const [path, node] of nodes) {
    if (node.kind !== 'file') merged.entries.push(node.entry)
    else if ('target' in node.inode) merged.links.set(path, node.inode.target)
    else {
      const { metadata, size, sha256, contents } = node.inode
      const first = firsts.get(node.inode) ?? path
      merged.entries.push({ kind: 'file', path, ...metadata, size, sha256, first })
      merged.contents.set(path, contents)
    }
  }
  return merged
}

/** Makes the directories above `path` that are not there. Throws E_PARENT_NOT_DIR. */
export function makeParents(merge: Merge, path: ByteString): void {
  const missing: ByteString[] = []
  let parent = parentOf(path)
  for (; parent !== ''; parent = parentOf(parent)) {
    const node = merge.nodes.get(parent)
    if (node?.kind === 'directory') break
    if (node !== undefined) throw refused('E_PARENT_NOT_DIR', path, `"${printable(parent)}" above it is a ${node.kind}`)
    missing.push(parent)
  }
  for (const directory of missing) {
    putSpecial(merge, impliedDirectory(directory))
    merge.implied.add(directory)
  }
  if (merge.nodes.size > merge.mostEntries)
    throw refused('E_LIMIT_ENTRIES', path, `the archive has more than ${merge.mostEntries} entries`)
}

function targetOf(path: ByteString, raw: ByteString): ByteString {
  try {
    return normalisePath(raw).path
  } catch (cause) {
    if (hasCode(cause, 'E_PATH_ESCAPE'))
      throw refused('E_HARDLINK', path, `it is a hard link to "${printable(raw)}", which may lie outside`, { cause })
    throw refused('E_HARDLINK', path, `its target is of no use: ${messageOf(cause)}`, { cause })
  }
}

function impliedDirectory(path: ByteString): Special {
  return { kind: 'directory', path, ...IMPLIED }
}

function refused(
  code: ErrorCode,
  path: ByteString,
  why: string,
  more?: { hint?: string; cause?: unknown },
): VarveError {
  return new VarveError(code, `cannot use "${path === '' ? '/' : printable(path)}": ${why}`, more)
}

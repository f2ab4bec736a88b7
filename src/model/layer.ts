// One layer of an image: what its archive says, and the tree that an overlay mount takes as one of its lowers.
import { VarveError } from '../errors.ts'
import { byteString, printable, type ByteString } from './bytes.ts'
import { parentOf, type DirectoryEntry, type Entry, type FileEntry, type NodeEntry, type Xattr } from './entry.ts'
import { makeTree, type Tree } from './tree.ts'

/** A layer as its archive has it; what it means depends on the layers below. */
export type RawLayer = {
  /** What the archive holds, without its whiteouts, with the directories above all that it names. */
  readonly tree: Tree
  /** Directories that no member names: where a layer below has them, they are as they are there. */
  readonly implied: ReadonlySet<ByteString>
  /** Names that are not to be seen from below. */
  readonly whiteouts: ReadonlySet<ByteString>
  /** Directories of which nothing is to be seen from below but themselves. */
  readonly opaque: ReadonlySet<ByteString>
  /** Hard links, by path, to files of the layers below. */
  readonly links: ReadonlyMap<ByteString, ByteString>
}

/** https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories */
const OPAQUE: Xattr = { name: byteString('trusted.overlay.opaque'), value: byteString('y') }
const ROOT = byteString('')

export function isWhiteout(entry: Entry): boolean {
  return entry.kind === 'char' && entry.major === 0 && entry.minor === 0
}

export function isOpaque(entry: Entry): boolean {
  return entry.xattrs.some(({ name }) => name === OPAQUE.name)
}

export function withoutMark(directory: DirectoryEntry): DirectoryEntry {
  if (!isOpaque(directory)) return directory
  return { ...directory, xattrs: directory.xattrs.filter(({ name }) => name !== OPAQUE.name) }
}

/**
 * The layer's tree over `below`, what is seen of the layers below it if there are any: device nodes 0:0 for whiteouts
 * that hide something, marks on opaque directories, and files that were linked to copied up. Throws E_HARDLINK.
 */
export function settleLayer(raw: RawLayer, below: Tree | undefined): Tree {
  const lower = new Map((below?.entries ?? []).map((entry) => [entry.path, entry]))
  const entries = new Map(raw.tree.entries.map((entry) => [entry.path, entry]))
  const view = { raw, lower, own: new Map(entries) }
  for (const path of raw.implied) takeFromBelow(entries, path, view)
  for (const [path, target] of raw.links) linkToBelow(entries, { path, target }, view)
  // a directory that is both has one mark; overlayfs looks for none on the root
  const covered = new Set([...raw.whiteouts, ...raw.opaque].filter((path) => path !== '' && reachable(path, view)))
  if (raw.opaque.has(ROOT)) for (const path of lower.keys()) if (path !== '' && parentOf(path) === '') covered.add(path)
  for (const path of covered) cover(entries, path, view)
  return makeTree(renameGroups([...entries.values()]))
}

type View = {
  readonly raw: RawLayer
  readonly lower: ReadonlyMap<ByteString, Entry>
  /** What the archive holds. */
  readonly own: ReadonlyMap<ByteString, Entry>
}

/** What the layer lets be seen of the layers below at `path`. */
function seen(path: ByteString, view: View): Entry | undefined {
  return view.raw.whiteouts.has(path) ? undefined : reachable(path, view)
}

/** The same, did nothing hide `path` itself. */
function reachable(path: ByteString, { raw, lower, own }: View): Entry | undefined {
  for (let above = path; above !== '';) {
    above = parentOf(above)
    const covering = own.get(above)
    if (raw.opaque.has(above) || raw.whiteouts.has(above)) return undefined
    if (covering !== undefined && covering.kind !== 'directory') return undefined
  }
  return lower.get(path)
}

function takeFromBelow(entries: Map<ByteString, Entry>, path: ByteString, view: View): void {
  const from = seen(path, view)
  if (from?.kind === 'directory') entries.set(path, from)
}

function linkToBelow(
  entries: Map<ByteString, Entry>,
  link: { readonly path: ByteString; readonly target: ByteString },
  view: View,
): void {
  const file = seen(link.target, view)
  if (file?.kind !== 'file') {
    const why = file === undefined ? 'which no layer below shows' : `which is a ${file.kind}`
    throw new VarveError(
      'E_HARDLINK',
      `cannot use "${printable(link.path)}": it is a hard link to "${printable(link.target)}", ${why}`,
    )
  }
  for (let above = parentOf(file.path); !entries.has(above); above = parentOf(above)) {
    const directory = view.lower.get(above)
    if (directory !== undefined) entries.set(above, directory)
  }
  entries.set(file.path, { ...file, first: file.path })
  entries.set(link.path, { ...file, path: link.path, first: file.path })
}

/** Covers what is seen from below at `path`: by a mark on the layer's own directory, by nothing where it has another. */
function cover(entries: Map<ByteString, Entry>, path: ByteString, view: View): void {
  const own = entries.get(path)
  if (own === undefined) entries.set(path, whiteout(path))
  else if (own.kind === 'directory' && view.lower.get(path)?.kind === 'directory')
    entries.set(path, { ...own, xattrs: [...own.xattrs, OPAQUE].toSorted((a, b) => (a.name < b.name ? -1 : 1)) })
}

/** Hides what layers below have at `path`. */
export function whiteout(path: ByteString): NodeEntry {
  return { kind: 'char', path, mode: 0, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [], major: 0, minor: 0 }
}

/** Names each hard-link group after the first path in byte order that it has now. */
export function renameGroups(entries: readonly Entry[]): Entry[] {
  const firsts = new Map<ByteString, ByteString>()
  const isFile = (entry: Entry): entry is FileEntry => entry.kind === 'file'
  for (const { path, first } of entries.filter(isFile)) {
    const known = firsts.get(first)
    if (known === undefined || path < known) firsts.set(first, path)
  }
  return entries.map((entry) => {
    if (entry.kind !== 'file') return entry
    const first = firsts.get(entry.first) ?? entry.path
    return first === entry.first ? entry : { ...entry, first }
  })
}

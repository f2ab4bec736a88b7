// A plan as a value: what must travel and what the host does with what it has, so that it then holds a tree.
import type { ByteString } from './bytes.ts'
import type { DirectoryEntry, FileEntry, NodeEntry, SymlinkEntry } from './entry.ts'

/** One thing that the delta carries. */
export type Step =
  /** Made anew: a directory that changes or holds changes, a symlink, a device node, a FIFO. */
  | { readonly kind: 'make'; readonly entry: DirectoryEntry | SymlinkEntry | NodeEntry }
  /** A file whose contents no tree of the host has; it may be much like what stands at `reference`. */
  | { readonly kind: 'send'; readonly entry: FileEntry; readonly reference?: Reference }
  /** A further name of the file that this plan makes at `entry.first`; `copied` where that one is a copy. */
  | { readonly kind: 'alias'; readonly entry: FileEntry; readonly copied: boolean }
  /** The inode of another tree's file, where contents and all metadata agree. */
  | { readonly kind: 'link'; readonly entry: FileEntry; readonly from: Place }
  /** Contents that the host has under other metadata, or gets by a step that sends them to the plan's own tree: copied there. */
  | { readonly kind: 'copy'; readonly entry: FileEntry; readonly from: Place }

export type Place = { readonly tree: string; readonly path: ByteString }

/** A file of the host whose contents may help to say others. */
export type Reference = Place & { readonly sha256: string; readonly size: number }

export type Changes = {
  readonly total: number
  readonly unchanged: number
  readonly added: number
  readonly changed: number
  readonly metadata: number
  readonly removed: number
  readonly special: number
}

export type Plan = {
  readonly tree: string
  /** The tree whose entries are linked to begin with. */
  readonly base: string | undefined
  /** Topmost paths of the base that go; not those of files, symlinks and nodes where the target has another such one. */
  readonly drop: readonly ByteString[]
  /** In the order of the tar: directories, sent contents, links, copies, aliases, then symlinks and nodes. */
  readonly steps: readonly Step[]
  /** How many the tree has. */
  readonly entries: number
  /** Bytes of contents: of the whole tree, and of the files that are sent. */
  readonly bytes: { readonly rootfs: number; readonly changed: number }
}

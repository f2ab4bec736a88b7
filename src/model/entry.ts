// One name in a root filesystem and all it takes to make it again.
import type { ByteString } from './bytes.ts'

export type Xattr = { readonly name: ByteString; readonly value: ByteString }

/** What every entry has. `mode` holds the low twelve bits (07777); `mtimeNs` is nanoseconds since 1970, may be negative. */
export type Metadata = {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeNs: bigint
  /** Sorted by name. */
  readonly xattrs: readonly Xattr[]
}

type Named = {
  /** Relative to the root of the tree, no leading `/` or `./`; the root itself is the empty string. */
  readonly path: ByteString
}

export type DirectoryEntry = Named & Metadata & { readonly kind: 'directory' }

export type FileEntry = Named &
  Metadata & {
    readonly kind: 'file'
    readonly size: number
    /** SHA-256 of the contents, 64 lower-case hexadecimal digits. */
    readonly sha256: string
    /** The first path, in byte order, of this file's hard-link group: its own path where it has no other. */
    readonly first: ByteString
  }

export type SymlinkEntry = Named & Metadata & { readonly kind: 'symlink'; readonly target: ByteString }

export type NodeEntry = Named &
  Metadata & {
    readonly kind: 'char' | 'block' | 'fifo'
    readonly major: number
    readonly minor: number
  }

export type Entry = DirectoryEntry | FileEntry | SymlinkEntry | NodeEntry

export function sameMetadata(a: Metadata, b: Metadata): boolean {
  return (
    a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.mtimeNs === b.mtimeNs && sameXattrs(a.xattrs, b.xattrs)
  )
}

function sameXattrs(a: readonly Xattr[], b: readonly Xattr[]): boolean {
  return (
    a.length === b.length && a.every((attribute, i) => attribute.name === b[i]?.name && attribute.value === b[i].value)
  )
}

/** All that makes two regular files interchangeable, so that they may share an inode. */
export function inodeKey(file: FileEntry): string {
  const xattrs = file.xattrs.map((attribute) => `${attribute.name}\0${attribute.value}`).join('\0')
  return `${file.sha256} ${file.size} ${file.mode} ${file.uid} ${file.gid} ${file.mtimeNs} ${xattrs}`
}

export function parentOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf('/')
  return (slash === -1 ? '' : path.slice(0, slash)) as ByteString
}

// The canonical manifest of a tree as bytes: just what `stat`, `sha256sum` and `getfattr` print on a host, in byte order.
//
// A host computes it from what is on its disk (runtime/manifest.sh); the SHA-256 of the whole is the id of the tree.
// Each section is a line "NAME COUNT" and COUNT records. No path holds "//", so a path ends where "//" stands, whatever
// bytes it has; a symlink's target is as long as its size says.
import { VarveError } from '../errors.ts'
import type { ByteString } from './bytes.ts'
import type { DirectoryEntry, Entry, FileEntry, Metadata, NodeEntry, SymlinkEntry, Xattr } from './entry.ts'
import { makeTree, type Tree } from './tree.ts'

const KIND_BITS = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
} as const

/** The manifest's bytes, in pieces of about 64 KiB. */
export function* encodeManifest(tree: Tree): Generator<ByteString> {
  const kinds = byKind(tree)
  const position = new Map(kinds.file.map((file, i) => [file.path, i + 1]))
  const links = kinds.file
    .filter((file) => file.first !== file.path)
    .map((file) => `${position.get(file.path)} ${position.get(file.first)}\n`)
  yield* pieces(['varve-tree 1\n'])
  yield* section(
    'directories',
    kinds.directory.map((entry) => `${head(entry)}\n`),
  )
  yield* section(
    'files',
    kinds.file.map((entry) => `${head(entry)} ${entry.size}\n`),
  )
  yield* section(
    'symlinks',
    kinds.symlink.map((entry) => `${head(entry)} ${entry.target.length}\n`),
  )
  yield* section(
    'targets',
    kinds.symlink.map((entry) => `${entry.target}\n`),
  )
  yield* section(
    'nodes',
    kinds.node.map((entry) => `${head(entry)} ${entry.major.toString(16)}:${entry.minor.toString(16)}\n`),
  )
  yield* section(
    'sums',
    kinds.file.map((entry) => `${entry.sha256}\n`),
  )
  yield* section('links', links)
  yield* section('xattrs', xattrLines(tree))
}

/** The manifest's last section alone: what a host without getfattr cannot compute by itself. */
export function xattrLines(tree: Tree): string[] {
  const lines: string[] = []
  for (const entry of tree.entries)
    for (const { name, value } of entry.xattrs)
      lines.push(`${octal(onDisk(entry.path), '\n\r\\')}//${octal(name, '=\n\r\\')}=0x${hexadecimal(value)}\n`)
  return lines.toSorted((a, b) => (a < b ? -1 : 1))
}

function byKind(tree: Tree): {
  directory: DirectoryEntry[]
  file: FileEntry[]
  symlink: SymlinkEntry[]
  node: NodeEntry[]
} {
  const kinds: ReturnType<typeof byKind> = { directory: [], file: [], symlink: [], node: [] }
  for (const entry of tree.entries) {
    if (entry.kind === 'directory') kinds.directory.push(entry)
    else if (entry.kind === 'file') kinds.file.push(entry)
    else if (entry.kind === 'symlink') kinds.symlink.push(entry)
    else kinds.node.push(entry)
  }
  return kinds
}

function* section(name: string, lines: readonly string[]): Generator<ByteString> {
  yield* pieces([`${name} ${lines.length}\n`])
  yield* pieces(lines)
}

function* pieces(lines: readonly string[]): Generator<ByteString> {
  for (let from = 0; from < lines.length; from += 512) yield lines.slice(from, from + 512).join('') as ByteString
}

function head(entry: Entry): string {
  return `${onDisk(entry.path)}//${(KIND_BITS[entry.kind] | entry.mode).toString(16)} ${entry.uid} ${entry.gid} ${decimalSeconds(entry.mtimeNs)}`
}

function onDisk(path: ByteString): string {
  return path === '' ? '.' : `./${path}`
}

/** Seconds with nine decimals; a negative time is the negative of its size, as GNU stat prints it. */
export function decimalSeconds(ns: bigint): string {
  const digits = (ns < 0n ? -ns : ns).toString().padStart(10, '0')
  return `${ns < 0n ? '-' : ''}${digits.slice(0, -9)}.${digits.slice(-9)}`
}

function octal(bytes: string, special: string): string {
  let out = ''
  for (const character of bytes)
    out += special.includes(character) ? `\\${(character.codePointAt(0) ?? 0).toString(8).padStart(3, '0')}` : character
  return out
}

function hexadecimal(bytes: string): string {
  let out = ''
  for (let i = 0; i < bytes.length; i++) out += bytes.charCodeAt(i).toString(16).padStart(2, '0')
  return out
}

/** Reads a manifest back. Throws E_MANIFEST where it is not canonical, for a host's word is not trusted. */
export function decodeManifest(text: ByteString): Tree {
  const reader = new Reader(text)
  reader.expect('varve-tree 1\n')
  const entries: Entry[] = reader.section('directories', (path, head) => ({
    kind: 'directory',
    path,
    ...metadata(head, KIND_BITS.directory),
  }))
  const files = reader.section('files', (path, head) => ({ path, head, meta: metadata(head, KIND_BITS.file) }))
  const symlinks = reader.section('symlinks', (path, head) => ({ path, head, meta: metadata(head, KIND_BITS.symlink) }))
  reader.count('targets', symlinks.length)
  for (const { path, head, meta } of symlinks)
    entries.push({ kind: 'symlink', path, ...meta, target: reader.take(whole(head[4]), '\n') })
  entries.push(...reader.section('nodes', (path, head): NodeEntry => node(path, head)))
  reader.count('sums', files.length)
  const sums = files.map(() => reader.take(64, '\n'))
  const first = files.map((file) => file.path)
  for (const line of reader.lines('links')) {
    const [member, to] = line.split(' ').map((word) => whole(word) - 1)
    const target = first[to ?? -1]
    if (member === undefined || target === undefined || member >= first.length) throw damaged()
    first[member] = target
  }
  const xattrs = readXattrs(reader.lines('xattrs'))
  reader.end()
  files.forEach(({ path, head, meta }, i) => {
    const sha256 = sums[i] ?? ''
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw damaged()
    entries.push({ kind: 'file', path, ...meta, size: whole(head[4]), sha256, first: first[i] ?? path })
  })
  return makeTree(
    xattrs.size === 0 ? entries : entries.map((entry) => ({ ...entry, xattrs: xattrs.get(onDisk(entry.path)) ?? [] })),
  )
}

function node(path: ByteString, head: readonly string[]): NodeEntry {
  const bits = Number.parseInt(head[0] ?? '', 16) & 0o170000
  const kind = (['char', 'block', 'fifo'] as const).find((known) => KIND_BITS[known] === bits)
  const [major, minor] = (head[4] ?? '').split(':').map((word) => Number.parseInt(word, 16))
  if (kind === undefined || major === undefined || minor === undefined || Number.isNaN(major + minor)) throw damaged()
  return { kind, path, ...metadata(head, bits), major, minor }
}

function metadata(head: readonly string[], bits: number): Metadata {
  const mode = Number.parseInt(head[0] ?? '', 16)
  if ((mode & 0o170000) !== bits || (mode & ~0o177777) !== 0) throw damaged()
  return {
    mode: mode & 0o7777,
    uid: whole(head[1]),
    gid: whole(head[2]),
    mtimeNs: nanoseconds(head[3] ?? ''),
    xattrs: [],
  }
}

function nanoseconds(text: string): bigint {
  const match = /^(-?)([0-9]{1,12})\.([0-9]{9})$/.exec(text)
  if (match === null) throw damaged()
  const size = BigInt(`${match[2]}${match[3]}`)
  return match[1] === '-' ? -size : size
}

function whole(text: string | undefined): number {
  if (text === undefined || !/^[0-9]{1,15}$/.test(text)) throw damaged()
  return Number(text)
}

function readXattrs(lines: readonly string[]): Map<string, Xattr[]> {
  const found = new Map<string, Xattr[]>()
  for (const line of lines) {
    // no path holds "//", and getfattr quotes `=` and line breaks in names
    const match = /^(.*?)\/\/([^=]+)=0x((?:[0-9a-f]{2})*)$/s.exec(line)
    if (match === null) throw damaged()
    const [path, name] = [unescapeOctal(match[1] ?? ''), unescapeOctal(match[2] ?? '') as ByteString]
    const value = (match[3] ?? '').replace(/../g, (pair) =>
      String.fromCharCode(Number.parseInt(pair, 16)),
    ) as ByteString
    found.set(path, [...(found.get(path) ?? []), { name, value }])
  }
  for (const [path, list] of found)
    found.set(
      path,
      list.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    )
  return found
}

/** Undoes getfattr's quoting: a backslash and three octal digits is a byte. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

function damaged(): VarveError {
  return new VarveError('E_MANIFEST', 'cannot read a manifest: it is not canonical')
}

class Reader {
  private at = 0
  private readonly text: string
  constructor(text: ByteString) {
    this.text = text
  }

  expect(literal: string): void {
    if (!this.text.startsWith(literal, this.at)) throw damaged()
    this.at += literal.length
  }

  take(length: number, closing: string): ByteString {
    const taken = this.text.slice(this.at, this.at + length)
    this.at += length
    if (taken.length !== length) throw damaged()
    this.expect(closing)
    return taken as ByteString
  }

  count(name: string, expected?: number): number {
    this.expect(`${name} `)
    const count = whole(this.until('\n'))
    if (expected !== undefined && count !== expected) throw damaged()
    return count
  }

  section<Record>(name: string, read: (path: ByteString, head: string[]) => Record): Record[] {
    const records: Record[] = []
    for (let left = this.count(name); left > 0; left--) {
      const path = this.until('//')
      if (path !== '.' && !path.startsWith('./')) throw damaged()
      records.push(read(path.slice(2) as ByteString, this.until('\n').split(' ')))
    }
    return records
  }

  lines(name: string): string[] {
    const lines: string[] = []
    for (let left = this.count(name); left > 0; left--) lines.push(this.until('\n'))
    return lines
  }

  end(): void {
    if (this.at !== this.text.length) throw damaged()
  }

  private until(mark: string): string {
    const end = this.text.indexOf(mark, this.at)
    if (end === -1) throw damaged()
    const found = this.text.slice(this.at, end)
    this.at = end + mark.length
    return found
  }
}

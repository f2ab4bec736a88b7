// Reads a directory as a tree: one walk of stat facts, and contents only of what changed since the last reading.
import { createHash, hash as hashAtOnce } from 'node:crypto'
import { readdirSync, readlinkSync } from 'node:fs'
import { setImmediate as others } from 'node:timers/promises'
import { VarveError, messageOf } from '../errors.ts'
import { byteString, printable, type ByteString } from '../model/bytes.ts'
import type { Entry, FileEntry, Metadata, Xattr } from '../model/entry.ts'
import type { FileFact, Reading } from '../model/facts.ts'
import { makeTree, type Tree } from '../model/tree.ts'
import { CHUNK, deviceNumbers, join, lstat, onDisk, readContents, readWhole, type Stat } from './contents.ts'
import { readXattrs } from './xattrs.ts'

/** A hash of stat facts and contents, passed in by the caller: XXH64. */
export type ChangeHash = {
  readonly xxh64: (bytes: Uint8Array) => bigint
  readonly stream: () => { update(bytes: Uint8Array | string): void; digest(): bigint }
}

export type ScanOptions = {
  readonly hash: ChangeHash
  readonly previous: Reading | undefined
  readonly onWarning: (warning: { code: string; message: string }) => void
  readonly onProgress?: (progress: { entries: number; bytes: number }) => void
}

/** `tree` is undefined where every stat fact is as it was at the previous reading: then the tree is the one it was. */
export type Scan = {
  readonly digest: bigint
  readonly tree: Tree | undefined
  readonly facts: ReadonlyMap<ByteString, FileFact>
  /** False where a file changed so recently that a later change could leave the same stat facts. */
  readonly lasting: boolean
}

type Found = { readonly path: ByteString; readonly stats: Stat }

const RACY_NS = 1_000_000_000n
/** So long at a time the thread is not given to others, such as a connection that is made meanwhile. */
const TURN_MS = 1

/**
 * Reads the tree below `root` (a latin1 path). What cannot be read is collected and named in one E_SOURCE_UNREADABLE;
 * a file that changes under the reader is E_SOURCE_CHANGED; a socket is E_SOCKET.
 */
export async function scanDirectory(root: ByteString, options: ScanOptions): Promise<Scan> {
  const { found, unreadable } = await walk(root, options)
  if (unreadable.length > 0) throw cannotRead(root, unreadable)
  const digest = digestOf(found, options.hash)
  const newest = found.reduce((latest, { stats }) => (stats.ctimeNs > latest ? stats.ctimeNs : latest), 0n)
  const lasting = newest < BigInt(Date.now()) * 1_000_000n - RACY_NS
  if (digest === options.previous?.digest) return { digest, tree: undefined, facts: new Map(), lasting }
  return { digest, lasting, ...(await readEntries(root, found, options)) }
}

async function walk(root: ByteString, options: ScanOptions): Promise<{ found: Found[]; unreadable: string[] }> {
  const found: Found[] = []
  const unreadable: string[] = []
  const stats = lstatOrThrow(root)
  if (stats.kind !== 'directory')
    throw new VarveError('E_SOURCE', `cannot read "${printable(root)}": it is no directory`)
  found.push({ path: byteString(''), stats })
  const pending: ByteString[] = [byteString('')]
  let turn = performance.now()
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    turn = await inTurns(turn)
    const names = attempt(
      () => readdirSync(onDisk(join(root, directory)), { encoding: 'latin1' }),
      directory,
      unreadable,
    )
    for (const name of names?.toSorted() ?? []) {
      const path = join(directory, byteString(name))
      const stats = attempt(() => lstat(join(root, path)), path, unreadable)
      if (stats === undefined) continue
      found.push({ path, stats })
      if (stats.kind !== 'directory') continue
      if (stats.dev === found[0]?.stats.dev) pending.push(path)
      else
        options.onWarning({
          code: 'W_MOUNT',
          message: `did not read below "${printable(path)}": another file system is mounted there`,
        })
    }
    if (found.length % 1024 === 0) options.onProgress?.({ entries: found.length, bytes: 0 })
  }
  return { found, unreadable }
}

async function inTurns(since: number): Promise<number> {
  if (performance.now() - since < TURN_MS) return since
  await others()
  return performance.now()
}

function lstatOrThrow(root: ByteString): Stat {
  try {
    return lstat(root)
  } catch (cause) {
    throw new VarveError('E_SOURCE', `cannot read "${printable(root)}": ${reason(cause)}`, { cause })
  }
}

function digestOf(found: readonly Found[], hash: ChangeHash): bigint {
  const state = hash.stream()
  let text = ''
  for (const { path, stats } of found) {
    text += `${path}\0${stats.kind} ${stats.dev} ${stats.ino} ${stats.mode} ${stats.nlink} ${stats.uid} ${stats.gid} ${stats.rdev} ${stats.kind === 'directory' ? 0 : stats.size} ${stats.mtimeNs} ${stats.ctimeNs}\n`
    if (text.length > 65_536) {
      state.update(text)
      text = ''
    }
  }
  state.update(text)
  return state.digest()
}

async function readEntries(
  root: ByteString,
  found: readonly Found[],
  options: ScanOptions,
): Promise<{ tree: Tree; facts: Map<ByteString, FileFact> }> {
  const before = options.previous?.facts() ?? new Map<ByteString, FileFact>()
  const xattrs = readXattrs(
    root,
    found.flatMap(({ path, stats: { kind } }) => (kind === 'socket' ? [] : [{ path, kind }])),
    options.onWarning,
  )
  const facts = new Map<ByteString, FileFact>()
  const firsts = firstPaths(found)
  warnOfLinkedSpecials(found, options)
  const entries: Entry[] = []
  const unreadable: string[] = []
  const scratch = Buffer.allocUnsafe(CHUNK)
  let bytes = 0
  let turn = performance.now()
  for (const { path, stats } of found) {
    turn = await inTurns(turn)
    const known = xattrs.get(path) ?? []
    if (stats.kind === 'file') {
      const first = firsts.get(`${stats.dev}:${stats.ino}`) ?? path
      const fact =
        facts.get(first) ??
        attempt(
          () => readFact(root, path, { stats, before: before.get(path), hash: options.hash, scratch }),
          path,
          unreadable,
        )
      if (fact === undefined) continue
      facts.set(path, fact)
      entries.push({
        kind: 'file',
        path,
        ...metadata(stats, known),
        size: fact.size,
        sha256: fact.sha256,
        first,
      } satisfies FileEntry)
      bytes += fact.size
    } else entries.push(special(root, path, { stats, known }))
    if (entries.length % 1024 === 0) options.onProgress?.({ entries: entries.length, bytes })
  }
  if (unreadable.length > 0) throw cannotRead(root, unreadable)
  options.onProgress?.({ entries: entries.length, bytes })
  return { tree: makeTree(entries), facts }
}

/** The smallest path of each inode that has several. */
function firstPaths(found: readonly Found[]): Map<string, ByteString> {
  const firsts = new Map<string, ByteString>()
  for (const { path, stats } of found) {
    if (stats.kind !== 'file' || stats.nlink < 2) continue
    const inode = `${stats.dev}:${stats.ino}`
    const first = firsts.get(inode)
    if (first === undefined || path < first) firsts.set(inode, path)
  }
  return firsts
}

/** A symlink or device with several names arrives as several: only files are linked. */
function warnOfLinkedSpecials(found: readonly Found[], options: ScanOptions): void {
  const inodes = found
    .filter(({ stats }) => stats.kind !== 'file' && stats.kind !== 'directory' && stats.nlink > 1)
    .map(({ stats }) => `${stats.dev}:${stats.ino}`)
  const linked = inodes.length - new Set(inodes).size
  if (linked > 0)
    options.onWarning({
      code: 'W_HARDLINK',
      message: `${linked} hard links between symlinks or device nodes become entries of their own`,
    })
}

function special(
  root: ByteString,
  path: ByteString,
  { stats, known }: { stats: Stat; known: readonly Xattr[] },
): Entry {
  const meta = { path, ...metadata(stats, known) }
  switch (stats.kind) {
    case 'symlink':
      return {
        kind: 'symlink',
        ...meta,
        target: byteString(readlinkSync(onDisk(join(root, path)), { encoding: 'latin1' })),
      }
    case 'fifo':
      return { kind: 'fifo', ...meta, major: 0, minor: 0 }
    case 'char':
    case 'block':
      return { kind: stats.kind, ...meta, ...deviceNumbers(stats.rdev) }
    case 'socket':
      throw new VarveError('E_SOCKET', `cannot ship "${printable(path)}": it is a socket`, {
        hint: 'stop the program that listens on it, or remove it',
      })
    default:
      return { kind: 'directory', ...meta }
  }
}

function metadata({ mode, uid, gid, mtimeNs }: Stat, xattrs: readonly Xattr[]): Metadata {
  return { mode, uid, gid, mtimeNs, xattrs }
}

function readFact(
  root: ByteString,
  path: ByteString,
  { stats, before, hash, scratch }: { stats: Stat; before: FileFact | undefined; hash: ChangeHash; scratch: Buffer },
): FileFact {
  const fresh = { dev: stats.dev, ino: stats.ino, size: stats.size, mtimeNs: stats.mtimeNs, ctimeNs: stats.ctimeNs }
  if (before !== undefined && isSame(before, fresh)) return before
  if (stats.size <= CHUNK) {
    const bytes = readWhole(root, path, stats, scratch)
    const xxh64 = hash.xxh64(bytes)
    return {
      ...fresh,
      xxh64,
      sha256:
        before?.size === stats.size && before.xxh64 === xxh64 ? before.sha256 : hashAtOnce('sha256', bytes, 'hex'),
    }
  }
  const sha = createHash('sha256')
  const hint = hash.stream()
  const likely = before?.size === stats.size
  for (const chunk of readContents(root, path, stats, scratch)) {
    hint.update(chunk)
    if (!likely) sha.update(chunk)
  }
  const xxh64 = hint.digest()
  if (likely) {
    if (before.xxh64 === xxh64) return { ...fresh, xxh64, sha256: before.sha256 }
    for (const chunk of readContents(root, path, stats, scratch)) sha.update(chunk)
  }
  return { ...fresh, xxh64, sha256: sha.digest('hex') }
}

function isSame(a: FileFact, b: Omit<FileFact, 'xxh64' | 'sha256'>): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs
}

function attempt<Value>(read: () => Value, path: ByteString, unreadable: string[]): Value | undefined {
  try {
    return read()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'EACCES' || code === 'EPERM') {
      unreadable.push(printable(path))
      return undefined
    }
    if (code === 'ENOENT' || code === 'ELOOP')
      throw new VarveError(
        'E_SOURCE_CHANGED',
        `cannot read "${printable(path)}": it went away while the source was read`,
        { cause: error },
      )
    if (error instanceof VarveError) throw error
    throw new VarveError('E_SOURCE', `cannot read "${printable(path)}": ${reason(error)}`, { cause: error })
  }
}

function cannotRead(root: ByteString, unreadable: readonly string[]): VarveError {
  const shown = unreadable
    .slice(0, 10)
    .map((path) => `"${path}"`)
    .join(', ')
  const more = unreadable.length > 10 ? ` and ${unreadable.length - 10} more` : ''
  return new VarveError(
    'E_SOURCE_UNREADABLE',
    `cannot read ${shown}${more} below "${printable(root)}": permission denied`,
    { hint: 'run varve with sudo, or as the owner of the files' },
  )
}

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ENOENT' ? 'there is no such file or directory' : (code ?? messageOf(error))
}

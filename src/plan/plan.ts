// Decides what a host lacks for a tree: what stays linked from a base, what it can link or copy itself, what is sent.
import type { ByteString } from '../model/bytes.ts'
import { inodeKey, parentOf, type DirectoryEntry, type Entry, type FileEntry } from '../model/entry.ts'
import type { Changes, Place, Plan, Step } from '../model/plan.ts'
import { filesOf, rootfsBytes, type Tree } from '../model/tree.ts'
import { keptPaths, sameEntry } from './kept.ts'

export type Known = { readonly id: string; readonly tree: Tree }

export type PlanInput = {
  readonly target: Known
  /** The tree of the host that resembles the target most. */
  readonly base: Known | undefined
  /** Where else on the host contents stand, by SHA-256; `alone` where the file has no other name there. */
  readonly elsewhere: ReadonlyMap<string, { readonly tree: string; readonly file: FileEntry; readonly alone: boolean }>
  /**
   * The tree is one of several that are mounted together. An inode that two of them share under different names would be
   * one file to a container, and its `cp` refuses to copy a file onto itself: then names are shared all or none.
   */
  readonly stacked: boolean
}

/** Smaller files are sent as often as they are there: saying where they are costs as much. */
const LEAST_COPIED = 512

/** The contents (SHA-256) that neither the base holds: what the caller may look for in the host's other trees. */
export function missingContents(target: Tree, base: Tree | undefined): string[] {
  const held = new Set(base === undefined ? [] : filesOf(base).map((file) => file.sha256))
  return [...new Set(filesOf(target).map((file) => file.sha256))].filter((contents) => !held.has(contents))
}

/** Pure: the same input gives the same plan. */
export function makePlan({ target, base: offered, elsewhere, stacked }: PlanInput): Plan {
  // directories keep the base's attributes unless set anew, and no tool of every host can take one away
  const base = offered !== undefined && losesDirectoryXattrs(target.tree, offered.tree) ? undefined : offered
  const names = namesOf(target.tree)
  const before = new Map((base?.tree.entries ?? []).map((entry) => [entry.path, entry]))
  const kept = keptPaths(target.tree, before)
  const source = offered === undefined ? undefined : new BaseFiles(offered, stacked ? names : undefined)
  if (stacked)
    for (const file of filesOf(target.tree))
      if (kept.has(file.path) && source?.sharesNames(file) !== true) kept.delete(file.path)
  const steps: Step[] = []
  const made = new Map<ByteString, FileEntry>()
  const aliases: FileEntry[] = []
  for (const entry of target.tree.entries) {
    if (entry.kind === 'directory' || kept.has(entry.path)) continue
    if (entry.kind !== 'file') steps.push({ kind: 'make', entry })
    else if (made.has(entry.first)) aliases.push(entry)
    else made.set(entry.first, entry)
  }
  let keys: ReadonlySet<string> | undefined
  const shared = (entry: FileEntry): boolean => (keys ??= sharedKeys(target.tree)).has(inodeKey(entry))
  const taken = takenGroups(target.tree, kept, before)
  const copied = new Set<ByteString>()
  const sending = new Map<string, Place>()
  for (const entry of made.values()) {
    const step = fileStep(entry, { source, elsewhere, names, shared, taken, sending })
    if (step.kind === 'send' && entry.size >= LEAST_COPIED)
      sending.set(entry.sha256, { tree: target.id, path: entry.path })
    if (step.kind === 'copy') copied.add(entry.path)
    steps.push(step)
  }
  for (const entry of aliases) steps.push({ kind: 'alias', entry, copied: copied.has(entry.first) })
  const drop = dropped(base?.tree, target.tree)
  steps.push(...directorySteps(target.tree, { before, touched: [...drop, ...steps.map((step) => step.entry.path)] }))
  steps.sort((a, b) => rank(a) - rank(b) || (a.entry.path < b.entry.path ? -1 : 1))
  const sent = steps.reduce((bytes, step) => bytes + (step.kind === 'send' ? step.entry.size : 0), 0)
  return {
    tree: target.id,
    base: base?.id,
    drop,
    steps,
    entries: target.tree.entries.length,
    bytes: { rootfs: rootfsBytes(target.tree), changed: sent },
  }
}

/** Directories first, so that every parent is explicit; symlinks last, so that nothing is made through one. */
function rank(step: Step): number {
  return step.entry.kind === 'directory' ? 0 : ['send', 'link', 'copy', 'alias', 'make'].indexOf(step.kind) + 1
}

function losesDirectoryXattrs(target: Tree, base: Tree): boolean {
  const marked = base.entries.filter((entry) => entry.kind === 'directory' && entry.xattrs.length > 0)
  if (marked.length === 0) return false
  const now = new Map(target.entries.map((entry) => [entry.path, entry]))
  return marked.some((entry) => {
    const names = new Set(now.get(entry.path)?.xattrs.map((attribute) => attribute.name))
    return now.get(entry.path)?.kind === 'directory' && entry.xattrs.some((attribute) => !names.has(attribute.name))
  })
}

/** Keys that more than one hard-link group of the target has: sharing one inode would join the groups. */
function sharedKeys(target: Tree): Set<string> {
  const seen = new Set<string>()
  const shared = new Set<string>()
  for (const file of filesOf(target)) {
    if (file.first !== file.path) continue
    const key = inodeKey(file)
    if (seen.has(key)) shared.add(key)
    seen.add(key)
  }
  return shared
}

/** Groups of the base whose inode the target already uses. */
function takenGroups(
  target: Tree,
  kept: ReadonlySet<ByteString>,
  before: ReadonlyMap<ByteString, Entry>,
): Set<ByteString> {
  const taken = new Set<ByteString>()
  for (const file of filesOf(target)) {
    const old = kept.has(file.path) ? before.get(file.path) : undefined
    if (old?.kind === 'file') taken.add(old.first)
  }
  return taken
}

function fileStep(
  entry: FileEntry,
  at: {
    source: BaseFiles | undefined
    elsewhere: PlanInput['elsewhere']
    names: Names
    /** Whether other hard-link groups of the target could share its inode. */
    shared: (entry: FileEntry) => boolean
    taken: Set<ByteString>
    /** Where contents that are sent come to stand first. */
    sending: ReadonlyMap<string, Place>
  },
): Step {
  const twin = at.source?.twin(entry, at.taken)
  if (twin !== undefined) {
    at.taken.add(twin.group)
    return { kind: 'link', entry, from: twin.place }
  }
  const here = at.source?.contents(entry)
  if (here !== undefined) return { kind: 'copy', entry, from: here }
  const sent = at.sending.get(entry.sha256)
  if (sent !== undefined) return { kind: 'copy', entry, from: sent }
  const there = at.elsewhere.get(entry.sha256)
  if (there === undefined) return { kind: 'send', entry }
  const from = { tree: there.tree, path: there.file.path }
  // a tree of another container may be mounted with this one later
  const alone = there.alone && there.file.path === entry.path && at.names.get(entry.first)?.length === 1
  return alone && inodeKey(there.file) === inodeKey(entry) && !at.shared(entry)
    ? { kind: 'link', entry, from }
    : { kind: 'copy', entry, from }
}

/** The names of each hard-link group, by its first. */
type Names = ReadonlyMap<ByteString, readonly ByteString[]>

function namesOf(tree: Tree): Names {
  const names = new Map<ByteString, ByteString[]>()
  for (const { path, first } of filesOf(tree)) {
    const group = names.get(first)
    if (group === undefined) names.set(first, [path])
    else group.push(path)
  }
  return names
}

/** The base's files by contents, and by what makes them interchangeable. */
class BaseFiles {
  private readonly id: string
  private readonly names: Names
  /** Of the target, where a file may share an inode only under all the same names. */
  private readonly wanted: Names | undefined
  private readonly byContents = new Map<string, FileEntry[]>()
  /** Of contents that were asked for: to write all keys takes longer than most plans. */
  private readonly byKey = new Map<string, Map<string, FileEntry[]>>()
  private readonly byPath = new Map<ByteString, FileEntry>()

  constructor(base: Known, wanted: Names | undefined) {
    this.id = base.id
    this.names = wanted === undefined ? new Map() : namesOf(base.tree)
    this.wanted = wanted
    for (const file of filesOf(base.tree)) {
      this.byPath.set(file.path, file)
      const same = this.byContents.get(file.sha256)
      if (same === undefined) this.byContents.set(file.sha256, [file])
      else same.push(file)
    }
  }

  twin(entry: FileEntry, taken: ReadonlySet<ByteString>): { group: ByteString; place: Place } | undefined {
    const fits = ({ first }: FileEntry): boolean =>
      !taken.has(first) && (this.wanted === undefined || (first === entry.first && this.sharesNames(entry)))
    const free = this.keysOf(entry.sha256).get(inodeKey(entry))?.find(fits)
    return free && { group: free.first, place: { tree: this.id, path: free.path } }
  }

  private keysOf(contents: string): Map<string, FileEntry[]> {
    let keys = this.byKey.get(contents)
    if (keys !== undefined) return keys
    keys = new Map()
    this.byKey.set(contents, keys)
    for (const file of this.byContents.get(contents) ?? []) {
      if (file.first !== file.path) continue
      const key = inodeKey(file)
      const group = keys.get(key)
      if (group === undefined) keys.set(key, [file])
      else group.push(file)
    }
    return keys
  }

  /** The base's file at the same path has just the names that this one has. */
  sharesNames(entry: FileEntry): boolean {
    const own = this.wanted?.get(entry.first) ?? []
    const there = this.names.get(this.byPath.get(entry.path)?.first ?? entry.path) ?? []
    return own.length === there.length && own.every((name, i) => name === there[i])
  }

  /** The same path where it has the contents, so that the copy needs no word about its origin. */
  contents(entry: FileEntry): Place | undefined {
    const same = this.byPath.get(entry.path)
    const found = same?.sha256 === entry.sha256 ? same : this.byContents.get(entry.sha256)?.[0]
    return found && { tree: this.id, path: found.path }
  }
}

/** Topmost paths of the base that the target has not, or as a directory in one of the two only. */
function dropped(base: Tree | undefined, target: Tree): ByteString[] {
  if (base === undefined) return []
  const kinds = new Map(target.entries.map((entry) => [entry.path, entry.kind]))
  const gone = new Set<ByteString>()
  const topmost: ByteString[] = []
  for (const { path, kind } of base.entries) {
    if (path !== '' && gone.has(parentOf(path))) gone.add(path)
    else if (!kinds.has(path) || (kinds.get(path) === 'directory') !== (kind === 'directory')) {
      gone.add(path)
      topmost.push(path)
    }
  }
  return topmost
}

/** Directories that change, and those whose time a change below would move. */
function directorySteps(
  target: Tree,
  { before, touched }: { before: ReadonlyMap<ByteString, Entry>; touched: readonly ByteString[] },
): Step[] {
  const parents = new Set(touched.filter((path) => path !== '').map(parentOf))
  const directories = target.entries.filter((entry): entry is DirectoryEntry => entry.kind === 'directory')
  const wanted = new Set<ByteString>()
  for (const entry of directories) {
    const old = before.get(entry.path)
    if (old?.kind === 'directory' && sameEntry(entry, old) && !parents.has(entry.path)) continue
    // a directory that is new moves the time of the one that holds it; every parent is explicit up to the root
    for (let path = entry.path; !wanted.has(path); path = parentOf(path)) {
      wanted.add(path)
      if (path === '') break
    }
  }
  return directories.filter((entry) => wanted.has(entry.path)).map((entry) => ({ kind: 'make', entry }))
}

/** What changes for a container that sees `base` now. */
export function countChanges(target: Tree, base: Tree | undefined): Changes {
  const old = new Map((base?.entries ?? []).map((entry) => [entry.path, entry]))
  const count = {
    total: target.entries.length,
    unchanged: 0,
    added: 0,
    changed: 0,
    metadata: 0,
    removed: 0,
    special: 0,
  }
  for (const entry of target.entries) {
    const was = old.get(entry.path)
    old.delete(entry.path)
    if (entry.kind !== 'file' && entry.kind !== 'directory' && entry.kind !== 'symlink') count.special++
    if (was === undefined) count.added++
    else if (sameEntry(entry, was)) count.unchanged++
    else if (
      sameEntry({ ...entry, mode: was.mode, uid: was.uid, gid: was.gid, mtimeNs: was.mtimeNs, xattrs: was.xattrs }, was)
    )
      count.metadata++
    else count.changed++
  }
  return { ...count, removed: old.size }
}

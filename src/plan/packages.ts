// Which package of a tree's own databases owns a path: dpkg's lists and apk's installed file.
import { byteString, type ByteString } from '../model/bytes.ts'
import { parentOf, type Entry, type FileEntry } from '../model/entry.ts'
import type { Tree } from '../model/tree.ts'

/** Names and versions are as the tree says them: foreign bytes. */
export type Package = { readonly name: string; readonly version: string | undefined }

const LISTS = 'var/lib/dpkg/info/'
const STATUS = 'var/lib/dpkg/status'
const INSTALLED = ['lib/apk/db/installed', 'usr/lib/apk/db/installed']
/** A database is read as a whole; no package has a larger one. */
const LARGEST = 64 << 20

/** The files that say who owns what. */
export function databasesAmong(files: readonly FileEntry[]): FileEntry[] {
  return files.filter(
    ({ path, size }) =>
      size <= LARGEST &&
      (path === STATUS || INSTALLED.includes(path) || (path.startsWith(LISTS) && path.endsWith('.list'))),
  )
}

/**
 * The owner of each path that the databases name; of directories and shared paths the last that names it. `tree` is what
 * the paths are of: dpkg writes /bin/ls where bin is a link to usr/bin.
 */
export function ownersOf(
  databases: readonly { readonly path: ByteString; readonly text: ByteString }[],
  tree: Tree,
): Map<ByteString, Package> {
  const owners = new Map<ByteString, Package>()
  const where = realPaths(tree)
  const own = (path: string, owner: Package): void => void owners.set(where(byteString(path)), owner)
  const versions = new Map<string, string>()
  for (const { path, text } of databases)
    if (path === STATUS)
      for (const fields of stanzas(text)) versions.set(fields.get('Package') ?? '', fields.get('Version') ?? '')
  for (const { path, text } of databases)
    if (path.startsWith(LISTS)) {
      // a package that is there for several machines is listed as NAME:ARCHITECTURE
      const name = path.slice(LISTS.length, -'.list'.length).replace(/:.*$/, '')
      const owner = { name, version: versions.get(name) }
      for (const line of text.split('\n')) if (line.startsWith('/') && line.length > 2) own(line.slice(1), owner)
    } else if (path !== STATUS) readInstalled(text, own)
  return owners
}

/** https://wiki.alpinelinux.org/wiki/Apk_spec#Installed_Database_V2 */
function readInstalled(text: ByteString, own: (path: string, owner: Package) => void): void {
  let name = ''
  let version: string | undefined
  let directory = ''
  let owner: Package | undefined
  for (const line of text.split('\n')) {
    const value = line.slice(2)
    if (line === '') [name, version, directory, owner] = ['', undefined, '', undefined]
    else if (line.startsWith('P:')) name = value
    else if (line.startsWith('V:')) version = value
    else if (line.startsWith('F:')) directory = value
    else if (line.startsWith('R:') && name !== '')
      own(directory === '' ? value : `${directory}/${value}`, (owner ??= { name, version }))
  }
}

function* stanzas(text: ByteString): Generator<Map<string, string>> {
  let fields = new Map<string, string>()
  for (const line of text.split('\n')) {
    const at = line.indexOf(': ')
    if (line === '') {
      yield fields
      fields = new Map()
    } else if (at > 0 && !line.startsWith(' ')) fields.set(line.slice(0, at), line.slice(at + 2))
  }
  yield fields
}

const MOST_LINKS = 40

/** Where a path leads once the links above it are followed; a path that leads nowhere stays as it is. */
function realPaths(tree: Tree): (path: ByteString) => ByteString {
  const entries = new Map(tree.entries.map((entry) => [entry.path, entry]))
  const known = new Map<ByteString, ByteString>()
  const directory = (path: ByteString, links: number): ByteString => {
    const found = known.get(path)
    if (found !== undefined || path === '') return found ?? path
    const real = join(directory(parentOf(path), links), nameOf(path))
    const entry = entries.get(real)
    const led = entry?.kind === 'symlink' && links > 0 ? directory(targetOf(entry), links - 1) : real
    known.set(path, led)
    return led
  }
  return (path) => join(directory(parentOf(path), MOST_LINKS), nameOf(path))
}

/** A link's target as a path of the tree; what leads above the root stays at the root. */
function targetOf({ path, target }: Entry & { kind: 'symlink' }): ByteString {
  const names = target.startsWith('/') || parentOf(path) === '' ? [] : parentOf(path).split('/')
  for (const name of target.split('/'))
    if (name === '..') names.pop()
    else if (name !== '' && name !== '.') names.push(name)
  return byteString(names.join('/'))
}

function nameOf(path: ByteString): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function join(directory: ByteString, name: string): ByteString {
  return byteString(directory === '' ? name : `${directory}/${name}`)
}

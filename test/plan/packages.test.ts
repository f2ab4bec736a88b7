// Owners of paths: the databases of dpkg and apk as they are on disk, over trees with and without a merged /usr.
import { expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { makeTree, type Tree } from '../../src/model/tree.ts'
import { databasesAmong, ownersOf } from '../../src/plan/packages.ts'
import { filesOf } from '../../src/model/tree.ts'

const META = { mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }
const directory = (path: string): Entry => ({ kind: 'directory', path: byteString(path), ...META })
const symlink = (path: string, target: string): Entry => ({ kind: 'symlink', path: byteString(path), target: byteString(target), ...META }) // prettier-ignore
const file = (path: string, size = 1): Entry => ({ kind: 'file', path: byteString(path), first: byteString(path), size, sha256: '0'.repeat(64), ...META }) // prettier-ignore

/** The entries with the directories above them. */
function treeOf(...entries: Entry[]): Tree {
  const above = entries.flatMap(({ path }) => path.split('/').map((_, i, names) => names.slice(0, i).join('/')))
  const links = new Set<string>(entries.filter(({ kind }) => kind !== 'file').map(({ path }) => path))
  return makeTree([...[...new Set(['', ...above])].filter((path) => !links.has(path)).map(directory), ...entries])
}
function owners(tree: Tree, texts: Record<string, string>): Record<string, string> {
  const databases = Object.entries(texts).map(([path, text]) => ({ path: byteString(path), text: byteString(text) }))
  return Object.fromEntries([...ownersOf(databases, tree)].map(([path, { name, version }]) => [path, `${name} ${version ?? '-'}`])) // prettier-ignore
}

const STATUS = `Package: base-files
Status: install ok installed
Version: 12.4
Description: several lines
 Version: none of this

Package: libc6
Version: 2.36-9
`

test('ownersOf() reads the lists of dpkg, with versions where status has them', () => {
  const tree = treeOf(file('etc/issue'), file('lib/libc.so'), file('usr/share/more'))
  expect(
    owners(tree, {
      'var/lib/dpkg/status': STATUS,
      'var/lib/dpkg/info/base-files.list': '/.\n/etc\n/etc/issue\n',
      'var/lib/dpkg/info/libc6:amd64.list': '/lib/libc.so\n',
      'var/lib/dpkg/info/odd.list': '/usr/share/more\n',
    }),
  ).toEqual({
    etc: 'base-files 12.4',
    'etc/issue': 'base-files 12.4',
    'lib/libc.so': 'libc6 2.36-9',
    'usr/share/more': 'odd -',
  })
})

test.each([
  ['bin', 'usr/bin'],
  ['bin', '/usr/bin'],
  ['bin', '../../usr/./bin'],
  ['bin', 'sbin'],
])('ownersOf() finds what is listed below the link %s to %s', (path, target) => {
  const tree = treeOf(symlink(path, target), symlink('sbin', 'usr/bin'), file('usr/bin/ls'))
  expect(owners(tree, { 'var/lib/dpkg/info/coreutils.list': '/bin/ls\n' })).toEqual({ 'usr/bin/ls': 'coreutils -' })
})

test('ownersOf() ends where links lead in circles', () => {
  const tree = treeOf(symlink('a', 'b'), symlink('b', 'a'), symlink('c', 'c/c'))
  expect(Object.values(owners(tree, { 'var/lib/dpkg/info/odd.list': '/a/x\n/b/y\n/c/z\n' }))).toEqual(['odd -', 'odd -', 'odd -']) // prettier-ignore
})

test.each(['lib/apk/db/installed', 'usr/lib/apk/db/installed'])('ownersOf() reads %s', (path) => {
  const text = 'C:Q1=\nP:musl\nV:1.2.5\nA:x86_64\nF:\nR:root\nF:lib\nR:ld-musl.so\nZ:Q1=\nM:0:0:755\n\nP:zlib\nF:usr/lib\nR:libz.so\n\nR:stray\n' // prettier-ignore
  expect(owners(treeOf(file('lib/ld-musl.so'), file('usr/lib/libz.so')), { [path]: text })).toEqual({
    root: 'musl 1.2.5',
    'lib/ld-musl.so': 'musl 1.2.5',
    'usr/lib/libz.so': 'zlib -',
  })
})

test('databasesAmong() names what is read, and nothing too large to be a database', () => {
  const names = ['var/lib/dpkg/status', 'var/lib/dpkg/info/a.list', 'lib/apk/db/installed']
  const tree = treeOf(...names.map((path) => file(path)), file('var/lib/dpkg/info/a.md5sums'), file('a.list'), file('var/lib/dpkg/info/b.list', 65 << 20)) // prettier-ignore
  expect(databasesAmong(filesOf(tree)).map(({ path }) => path)).toEqual(names.toSorted())
})

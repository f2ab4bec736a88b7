// readTarTree: what a tree becomes of members, and which members make no root filesystem.
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import { readTarTree } from '../../src/tar/tree.ts'
import { chunked, rawArchive, rawBase256, rawMember, rawPax, type RawHeader } from './raw-header.ts'

const CAPABILITY = '\x01\0\0\x02'.padEnd(20, '\0')

function file(name: string, body = '', more: RawHeader = {}): Buffer {
  return rawMember({ name, ...more }, body)
}
function directory(name: string, more: RawHeader = {}): Buffer {
  return rawMember({ name, type: '5', mode: '0000700\0', ...more })
}
function link(name: string, linkname: string): Buffer {
  return rawMember({ name, type: '1', linkname })
}
function symlink(name: string, linkname: string): Buffer {
  return rawMember({ name, type: '2', linkname })
}
function octal(number: number): string {
  return `${number.toString(8).padStart(7, '0')}\0`
}
function at(mtime: string): Buffer {
  return rawPax([['mtime', mtime]])
}
function device(name: string, major: number, minor: number, type = '3'): Buffer {
  return rawMember({ name, type, major: octal(major), minor: octal(minor) })
}

async function read(...parts: Buffer[]) {
  return readTarTree(chunked(rawArchive(...parts)))
}
/** The tree in short: kind and path, with what tells one from another. */
async function shown(...parts: Buffer[]): Promise<string[]> {
  const { tree } = await read(...parts)
  return tree.entries.map((entry) => {
    if (entry.kind === 'file') return `file ${entry.path} ${entry.size} ${entry.first}`
    if (entry.kind === 'symlink') return `symlink ${entry.path} ${entry.target}`
    return `${entry.kind} ${entry.path} ${entry.mode.toString(8)}`
  })
}

describe('readTarTree() refuses', () => {
  test.each<[string, string, Buffer[], RegExp?]>([
    ['21 a name that leads out', 'E_PATH_ESCAPE', [file('../x')]],
    ['22 a name that leads out later', 'E_PATH_ESCAPE', [file('a/../../x')]],
    ['22 a PAX path that leads out', 'E_PATH_ESCAPE', [rawPax([['path', '../x']]), file('x')]],
    ['24 an empty name', 'E_PATH_EMPTY', [file('')]],
    ['25 a root that is a symlink', 'E_PATH_ROOT', [symlink('.', '/etc')]],
    ['25 a root that is a file', 'E_PATH_ROOT', [file('.')]],
    ['25 a root that is a hard link', 'E_PATH_ROOT', [file('f'), link('.', 'f')]],
    ['26 only dots', 'E_PATH_ESCAPE', [directory('..')]],
    ['27 a long path', 'E_PATH_LONG', [rawPax([['path', `${'p'.repeat(200)}/`.repeat(25)]]), file('x')]],
    ['28 a long component', 'E_PATH_LONG', [rawPax([['path', 'c'.repeat(256)]]), file('x')]],
    ['29 a deep path', 'E_PATH_DEPTH', [rawPax([['path', 'd/'.repeat(10_000)]]), file('x')]],
    ['30 a file beneath a symlink', 'E_PARENT_NOT_DIR', [symlink('s', '/etc'), file('s/x')]],
    ['30 a file far beneath a symlink', 'E_PARENT_NOT_DIR', [symlink('s', '/etc'), file('s/d/x')]],
    ['30 a symlink above a file', 'E_PARENT_NOT_DIR', [file('s/x'), symlink('s', '/etc')]],
    ['31 a file beneath a file', 'E_PARENT_NOT_DIR', [file('f'), file('f/x')]],
    ['31 a hard link beneath a file', 'E_PARENT_NOT_DIR', [file('f'), link('f/x', 'f')]],
    ['32 a directory and a symlink', 'E_DUP_TYPE', [directory('a'), symlink('a', 'b')]],
    ['32 a symlink and a file', 'E_DUP_TYPE', [symlink('a', '/etc/passwd'), file('a', 'x')]],
    ['32 a symlink and a hard link', 'E_DUP_TYPE', [file('f'), symlink('a', 'b'), link('a', 'f')]],
    ['35 a hard link to outside', 'E_HARDLINK', [file('f'), link('h', '../../etc/passwd')], /outside/],
    ['36 a hard link to nothing', 'E_HARDLINK', [link('h', 'etc/passwd')], /not in the archive/],
    ['36 a hard link through a symlink', 'E_HARDLINK', [symlink('s', '/etc'), link('h', 's/passwd')], /not in/],
    ['37 a hard link to a directory', 'E_HARDLINK', [directory('d'), link('h', 'd')], /directory/],
    ['38 a hard link to a symlink', 'E_HARDLINK', [symlink('s', 'x'), link('h', 's')], /symlink/],
    ['39 a hard link to itself', 'E_HARDLINK', [link('h', './h')], /itself/],
    ['40 a hard link to what comes later', 'E_HARDLINK', [link('h', 'f'), file('f')], /comes after/],
    ['a hard link to an empty name', 'E_HARDLINK', [link('h', '')]],
    ['42 a device beyond those of Linux', 'E_DEVICE', [device('b', 4096, 0, '4')]],
    ['43 a whiteout', 'E_WHITEOUT_DEV', [device('c', 0, 0)]],
    ['45 the owner 2^32-1', 'E_OWNER', [file('f', '', { uid: rawBase256(2n ** 32n - 1n, 8) })]],
    ['45 a negative group', 'E_OWNER', [file('f', '', { gid: rawBase256(-1n, 8) })]],
    ['45 a negative PAX owner', 'E_OWNER', [rawPax([['uid', '-2']]), file('f')]],
    ['48 an attribute of 70 KiB', 'E_XATTR_SIZE', [rawPax([['SCHILY.xattr.user.a', 'x'.repeat(71_680)]]), file('f')]],
    ['49 a capability that is none', 'E_CAP', [rawPax([['SCHILY.xattr.security.capability', 'x']]), file('f')]],
    ['a symlink to nothing', 'E_PATH_EMPTY', [symlink('s', '')]],
    ['a symlink too long', 'E_PATH_LONG', [rawPax([['linkpath', 'x'.repeat(4096)]]), symlink('s', 'x')]],
  ])('%s', async (_, code, parts, message) => {
    await expect(read(...parts)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message ?? /^cannot (?:use|keep)/),
    })
  })
  test('directories without end that nobody named', async () => {
    const parts = Array.from({ length: 20 }, (_, i) => rawMember({ name: `${i}/${'d/'.repeat(40)}f` }))
    const limits = { entries: 100, bytes: 1e9, ratio: 1000, ratioFloor: 1e9 }
    await expect(readTarTree(chunked(rawArchive(...parts)), { limits })).rejects.toMatchObject({
      code: 'E_LIMIT_ENTRIES',
    })
  })
})

describe('readTarTree() makes', () => {
  test('a root of its own where the archive has none', async () => {
    expect(await shown(file('f'))).toEqual(['directory  755', 'file f 0 f'])
  })
  test('the root as the archive has it', async () => {
    expect(await shown(directory('./'), file('./f'))).toEqual(['directory  700', 'file f 0 f'])
  })
  test('directories that the archive left out, and says so', async () => {
    expect(await shown(file('a/b/f'))).toEqual(['directory  755', 'directory a 755', 'directory a/b 755', 'file a/b/f 0 a/b/f']) // prettier-ignore
    expect((await read(file('a/b/f'), directory('a'))).warnings).toMatchObject([{ code: 'W_IMPLIED_DIR' }])
    expect((await read(file('a/b/f'), directory('a'), directory('a/b'))).warnings).toEqual([])
  })
  test('23 a relative name of an absolute one, and says so once', async () => {
    const { tree, warnings } = await read(file('/f'), file('//g'))
    expect(tree.entries.map(({ path }) => path)).toEqual(['', 'f', 'g'])
    expect(warnings).toEqual([{ code: 'W_PATH_ABS', message: 'took the leading "/" off names: "f" and 1 more' }])
  })
  test('33 one directory of two', async () => {
    expect(await shown(directory('d', { mode: '0000755\0' }), file('d/f'), directory('d/'))).toEqual(['directory  755', 'directory d 700', 'file d/f 0 d/f']) // prettier-ignore
  })
  test('the last of two files, links to the first left as they are', async () => {
    expect(await shown(file('f', 'old'), link('h', 'f'), file('f', 'newer'))).toEqual(['directory  755', 'file f 5 f', 'file h 3 h']) // prettier-ignore
  })
  test('34 case-only twins two files', async () => {
    expect(await shown(file('A'), file('a'))).toHaveLength(3)
  })
  test('41 hard links, absolute ones in the root, named after the first path in byte order', async () => {
    const parts = [directory('z'), file('z/f', 'x'), link('b', '/z/f'), link('a', './b'), link('z/z', 'a')]
    expect(await shown(...parts)).toEqual(['directory  755', 'file a 1 a', 'file b 1 a', 'directory z 700', 'file z/f 1 a', 'file z/z 1 a']) // prettier-ignore
  })
  test('42 44 46 devices, a fifo and a setuid file', async () => {
    const { tree } = await read(device('b', 8, 1, '4'), device('c', 0, 1), device('p', 5, 5, '6'), file('s', '', { mode: '0004755\0' })) // prettier-ignore
    expect(tree.entries.slice(1)).toMatchObject([
      { kind: 'block', major: 8, minor: 1 },
      { kind: 'char', major: 0, minor: 1 },
      { kind: 'fifo', major: 0, minor: 0 },
      { kind: 'file', mode: 0o4755 },
    ])
  })
  test('47 no use of attributes of another machine, and says which', async () => {
    const pax = rawPax([
      ['SCHILY.xattr.user.b', '2'],
      ['SCHILY.xattr.trusted.overlay.redirect', 'x'],
      ['SCHILY.xattr.security.capability', CAPABILITY],
      ['RHT.security.selinux', 'x'],
    ])
    const { tree, warnings } = await read(pax, file('f'))
    expect(tree.entries[1]?.xattrs.map(({ name }) => name)).toEqual(['security.capability', 'user.b'])
    expect(warnings).toMatchObject([
      { code: 'W_XATTR', message: expect.stringContaining('trusted.overlay.redirect (1), security.selinux (1)') },
    ])
  })
  test('50 times exact, and what 64 bits cannot hold as near as it gets', async () => {
    const { tree, warnings } = await read(at('-1'), file('a'), at('253402300799'), file('b'), at('9000000000.000000001'), file('c')) // prettier-ignore
    expect(tree.entries.slice(1).map(({ mtimeNs }) => mtimeNs)).toEqual([-1_000_000_000n, 2n ** 63n - 1n, 9_000_000_000_000_000_001n]) // prettier-ignore
    expect(warnings).toMatchObject([{ code: 'W_MTIME' }])
  })
  test('symlinks of mode 0777, as Linux knows them', async () => {
    expect((await read(symlink('s', 'x'))).tree.entries[1]).toMatchObject({ mode: 0o777 })
  })
  test('SHA-256 of contents and where they are', async () => {
    const { tree, contents } = await read(file('a', 'hello'), file('b', 'x'.repeat(3000)), link('c', 'a'))
    const sha256 = createHash('sha256').update('hello').digest('hex')
    expect(tree.entries[1]).toMatchObject({ sha256, size: 5 })
    expect(contents.get(byteString('a'))).toEqual({ offset: 512, size: 5 })
    expect(contents.get(byteString('b'))).toEqual({ offset: 1536, size: 3000 })
    expect(contents.get(byteString('c'))).toEqual(contents.get(byteString('a')))
  })
  test('only the root of an archive of nothing', async () => {
    expect(await shown()).toEqual(['directory  755'])
  })
})

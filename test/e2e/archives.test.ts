// Hostile archives from end to end on this machine: what is refused changes nothing, what is taken stays below the store.
import { execFileSync } from 'node:child_process'
import { linkSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs' // prettier-ignore
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { rawArchive, rawHeader, rawMember, rawPax } from '../tar/raw-header.ts'

const work = mkdtempSync(join(tmpdir(), 'varve-archives-'))
const path = (name: string): string => join(work, name)
const canary = path('canary')
/** The canary as a path that climbs from any directory. */
const climbing = `${'../'.repeat(20)}${canary.slice(1)}`
const common = ['--state-dir', path('state'), '--store', path('store'), '--bundle-dir', path('bundles'), '--rootfs', 'copy'] // prettier-ignore

const list = join(import.meta.dirname, '../fixture/list-tree.sh')
const listed = (name: string): string => execFileSync(list, [path(name)], { encoding: 'utf8', maxBuffer: 1 << 26 })
/** All that hostile archives reach for, and what is current; without what every run of a runtime touches. */
const held = (): string[] => [listed('canary'), listed('bundles'), listed('store/tree'), listed('store/c')]

beforeAll(() => {
  mkdirSync(join(canary, 'sub'), { recursive: true })
  writeFileSync(join(canary, 'app.conf'), 'host\n')
  linkSync(join(canary, 'app.conf'), join(canary, 'sub/app.conf'))
  symlinkSync('app.conf', join(canary, 'link'))
})
afterAll(() => rmSync(work, { recursive: true }))

const dir = (name: string): Buffer => rawMember({ name, type: '5', mode: '0000755\0' })
const file = (name: string, body = 'evil\n'): Buffer => rawMember({ name }, body)
const symlink = (name: string, linkname: string): Buffer => rawMember({ name, type: '2', linkname })
const hardlink = (name: string, linkname: string): Buffer => rawMember({ name, type: '1', linkname })

function push(...parts: Buffer[]): string[] {
  writeFileSync(path('x.tar'), rawArchive(...parts))
  return ['push', `tar:${path('x.tar')}`, 'local:app', ...common]
}

describe('push of an archive with', () => {
  beforeAll(async () => {
    // what stands there leads out, so that whatever is unpacked over it or through it would be seen
    const lure = [
      symlink('etc', canary),
      symlink('up', climbing),
      dir('usr'),
      symlink('usr/conf', `${canary}/app.conf`),
    ]
    await varveData(push(...lure, file('kept')))
  })

  test.each<[string, string, Buffer[]]>([
    ['a file beneath a symlink', 'E_PARENT_NOT_DIR', [symlink('d', canary), file('d/app.conf')]],
    ['a file beneath a symlink that climbs', 'E_PARENT_NOT_DIR', [symlink('d', climbing), file('d/app.conf')]],
    ['a file beneath two symlinks', 'E_PARENT_NOT_DIR', [symlink('a', canary), symlink('b', 'a/sub'), file('b/app.conf')]],
    ['a directory in place of a symlink', 'E_DUP_TYPE', [symlink('d', canary), dir('d'), file('d/app.conf')]],
    ['a name that climbs', 'E_PATH_ESCAPE', [file(`${climbing}/app.conf`.slice(-90))]],
    ['a name that goes in and climbs', 'E_PATH_ESCAPE', [dir('a'), file('a/../../x')]],
    ['a PAX name that climbs', 'E_PATH_ESCAPE', [rawPax([['path', `${climbing}/app.conf`]]), file('x')]],
    ['a hard link that climbs', 'E_HARDLINK', [rawPax([['linkpath', `${climbing}/app.conf`]]), hardlink('h', 'x')]],
    ['a hard link through a symlink', 'E_HARDLINK', [symlink('s', canary), hardlink('h', 's/app.conf')]],
    ['a hard link to the host by its absolute name', 'E_HARDLINK', [rawPax([['linkpath', `${canary}/app.conf`]]), hardlink('h', 'x')]],
    ['a hard link to a symlink', 'E_HARDLINK', [symlink('s', `${canary}/app.conf`), hardlink('h', 's'), file('h')]],
    ['a symlink named "."', 'E_PATH_ROOT', [symlink('.', canary), file('app.conf')]],
    ['a file named "./"', 'E_PATH_ROOT', [rawMember({ name: '.' }, 'x')]],
    ['two sizes', 'E_TAR_PAX', [rawPax([['size', '1024']]), file('x', 'y'.repeat(512)), file('hidden')]],
    ['a block device', 'E_DEVICE', [rawMember({ name: 'sda', type: '4', major: '0000010\0' })]],
    ['a whiteout', 'E_WHITEOUT_DEV', [rawMember({ name: 'w', type: '3' })]],
  ])('%s is refused and changes nothing', async (_, code, parts) => {
    const before = held()
    expect(await varveError(push(file('new'), ...parts))).toMatchObject({ code, status: 3 })
    expect(held()).toEqual(before)
  }) // prettier-ignore

  test('a bomb is refused before it fills the disk', async () => {
    const before = held()
    const zeros = gzipSync(rawMember({ name: 'zeros' }, Buffer.alloc(64 << 20)), { level: 9 })
    writeFileSync(
      path('bomb.gz'),
      Buffer.concat([
        gzipSync(rawHeader({ name: 'b', size: 2 ** 33 - 1 })),
        ...Array.from({ length: 128 }, () => zeros),
      ]),
    )
    const args = ['push', `tar:${path('bomb.gz')}`, 'local:app', ...common]
    expect(await varveError(args)).toMatchObject({ code: 'E_LIMIT_RATIO', status: 3 })
    expect(held()).toEqual(before)
    expect(execFileSync('du', ['-sm', path('state')]).toString()).toMatch(/^[0-9]{1,2}\t/)
  })

  test('directories where links out stand writes below the store alone', async () => {
    const before = listed('canary')
    const long = rawPax([['linkpath', '/usr/conf']])
    const pushed = await varve(push(file('etc/app.conf'), file('/up/sub/app.conf'), file('usr/conf'), long, hardlink('usr/same', 'x')))
    expect(pushed).toMatchObject({ status: 0, stderr: expect.stringContaining('[W_PATH_ABS]') })
    expect(listed('canary')).toBe(before)
    const root = path('bundles/app/rootfs')
    for (const name of ['etc/app.conf', 'up/sub/app.conf', 'usr/conf', 'usr/same'])
      expect(readFileSync(join(root, name), 'utf8')).toBe('evil\n')
    for (const name of ['etc', 'up', 'up/sub', 'usr']) expect(lstatSync(join(root, name)).isDirectory()).toBe(true)
    expect(lstatSync(join(root, 'usr/conf')).ino).toBe(lstatSync(join(root, 'usr/same')).ino)
  }) // prettier-ignore

  test('links out again, and other owners and modes for its root, changes nothing above it', async () => {
    const above = (): string[] =>
      ['.', 'store', 'store/tree', 'store/c/app', 'bundles'].map((name) => {
        const { mode, uid, gid, ino } = lstatSync(path(name))
        return `${name} ${mode} ${uid}:${gid} ${ino}`
      })
    const before = [listed('canary'), ...above()]
    const root = rawMember({ name: './', type: '5', mode: '0000777\0', uid: '0001750\0' })
    expect(await varve(push(root, symlink('etc', canary), symlink('up', climbing)))).toMatchObject({ status: 0 })
    const made = path('bundles/app/rootfs')
    expect([listed('canary'), ...above()]).toEqual(before)
    expect(lstatSync(made)).toMatchObject({ mode: 0o40777, uid: 1000 })
    expect(readlinkSync(join(made, 'etc'))).toBe(canary)
  }) // prettier-ignore
})

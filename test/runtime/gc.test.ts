// gc under the worst: a full disk, failed pushes, damage; what a generation needs is never freed.
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { varve, varveData } from '../fixture/varve.ts'
import { Bench, runtimeText } from './runtime.ts'

let bench: Bench
let rootfs: string
const gc = (keep: number): Promise<string> => bench.ask([`gc ${keep} no\n`], { shell: ['dash'], text: runtimeText })
const trees = (): string[] => readdirSync(join(bench.store, 'tree'))

beforeEach(() => {
  bench = new Bench()
  rootfs = join(bench.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc'), { recursive: true })
  writeFileSync(join(rootfs, 'etc/a'), 'one')
})
afterEach(() => bench.remove())

test('gc() on a full disk without a reserve frees only what nothing needs', async () => {
  const disk = join(bench.work, 'disk')
  execFileSync('sh', ['-euc', 'truncate -s 120M "$0"; mkfs.ext4 -q -m0 -b 1024 "$0"', disk])
  mkdirSync(bench.store)
  execFileSync('mount', ['-o', 'loop', disk, bench.store])
  try {
    await bench.push(rootfs)
    const before = trees()
    writeFileSync(join(rootfs, 'etc/a'), 'two!')
    await bench.push(rootfs)
    rmSync(join(bench.store, 'reserve'), { recursive: true })
    fill(join(bench.store, 'runtime/fill'))
    expect(await gc(1)).toMatch(/^freed generation app 1\nfreed tree [0-9a-f]{64} \d+\nok\n$/)
    expect(trees()).toHaveLength(1)
    expect(before).not.toEqual(trees())
    expect((await bench.current()).number).toBe(2)
  } finally {
    execFileSync('umount', [bench.store])
  }
})

test('gc() counts only generations that were committed', async () => {
  for (const [number, text] of ['one', 'two!'].entries()) {
    writeFileSync(join(rootfs, 'etc/a'), text)
    await bench.push(rootfs)
    expect((await bench.current()).number).toBe(number + 1)
  }
  for (const failed of [3, 4]) mkdirSync(join(bench.store, `c/app/bundle/${failed}`))
  expect(await gc(2)).toBe('freed generation app 4\nfreed generation app 3\nok\n')
  expect(trees()).toHaveLength(2)
})

test('gc() keeps a damaged tree that a mount stands on, under whatever name', async () => {
  await varveData(['push', `rootfs:${rootfs}`, 'local:app', '--rootfs', 'overlay', ...bench.options])
  const [id = ''] = trees()
  writeFileSync(join(bench.store, 'tree', id, 'root/etc/a'), 'bad')
  await varve(['verify', 'local', '--repair', ...bench.options])
  await gc(1)
  expect(trees()).toEqual([expect.stringMatching(`^${id}.bad.`)])
  expect(readFileSync(join(bench.work, 'bundles/app/rootfs/etc/a'), 'latin1')).toBe('bad')
  execFileSync('umount', [join(bench.store, 'c/app/bundle/1/rootfs')])
  await gc(1)
  expect(trees()).toEqual([])
})

function fill(file: string): void {
  const descriptor = openSync(file, 'w')
  for (let block = 1 << 20; block >= 1; block = block > 1 ? block >> 1 : 0)
    try {
      for (;;) writeSync(descriptor, Buffer.alloc(block))
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOSPC') throw error
    }
  closeSync(descriptor)
}

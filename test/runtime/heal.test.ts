// A push after damage: what the host holds is read before it is switched to, and every retry converges.
import { mkdirSync, readFileSync, readlinkSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { varve, varveData } from '../fixture/varve.ts'
import { Bench } from './runtime.ts'

let bench: Bench
let rootfs: string
let tree: string
const push = (...more: string[]): Promise<{ generation: number; bytes: { delta: number } }> =>
  varveData(['push', `rootfs:${rootfs}`, 'local:app', '--rootfs', 'copy', ...more, ...bench.options])
const damage = (): void => writeFileSync(join(bench.store, 'tree', tree, 'root/etc/a'), 'bad')
const deployed = (number: number): string =>
  readFileSync(join(bench.store, `c/app/bundle/${number}/rootfs/etc/a`), 'latin1')

beforeEach(async () => {
  bench = new Bench()
  rootfs = join(bench.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc'), { recursive: true })
  writeFileSync(join(rootfs, 'etc/a'), 'one')
  await bench.push(rootfs)
  tree = readdirSync(join(bench.store, 'tree'))[0] ?? ''
})
afterEach(() => bench.remove())

test('push() of what is current sends it again where its tree was set aside', async () => {
  damage()
  expect((await varve(['verify', 'local:app', '--repair', ...bench.options])).status).toBe(3)
  const report = await push()
  expect(report.generation).toBe(2)
  expect(report.bytes.delta).toBeGreaterThan(0)
  expect((await bench.current()).tree).toBe(tree)
  expect(deployed(2)).toBe('one')
})

test('push() of a tree that the host holds, but damaged, sends it before the switch', async () => {
  damage()
  const report = await push('--cmd', '/other')
  expect(report.generation).toBe(2)
  expect(report.bytes.delta).toBeGreaterThan(0)
  expect(deployed(2)).toBe('one')
})

test('push() of what is current makes the link that a killed push had not made', async () => {
  const link = join(bench.work, 'bundles/app')
  const bundle = readlinkSync(link)
  rmSync(link)
  expect((await push()).generation).toBe(1)
  expect(readlinkSync(link)).toBe(bundle)
  rmSync(link)
  symlinkSync(join(bench.store, 'c/app/bundle/0'), link)
  expect((await push()).generation).toBe(1)
  expect(readlinkSync(link)).toBe(bundle)
})

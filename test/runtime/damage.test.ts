// A store that somebody or an earlier crash has hurt: it is said so or mended, and nothing good is lost.
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { varveData, varveError } from '../fixture/varve.ts'
import { Bench } from './runtime.ts'

let bench: Bench
let rootfs: string
const tree = (): string => join(bench.store, 'tree', readdirSync(join(bench.store, 'tree'))[0] ?? '')

beforeEach(() => {
  bench = new Bench()
  rootfs = join(bench.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc'), { recursive: true })
  writeFileSync(join(rootfs, 'etc/a'), 'one')
})
afterEach(() => bench.remove())

test.each([['gen/9'], ['../../etc'], ['gen/x']])(
  'a current that is %s ends every verb, and gc frees nothing',
  async (link) => {
    await bench.push(rootfs)
    rmSync(join(bench.store, 'c/app/current'))
    symlinkSync(link, join(bench.store, 'c/app/current'))
    for (const words of [
      ['status', 'local:app'],
      ['verify', 'local'],
      ['gc', 'local'],
      ['rollback', 'local:app'],
    ])
      expect((await varveError([...words, ...bench.options])).code, words[0]).toBe('E_STORE_DAMAGED')
    expect(existsSync(tree())).toBe(true)
  },
)

test('a store that a killed first push had begun is taken; one that holds anything else is not', async () => {
  for (const room of ['tree', 'c', 'in', 'stage', 'pin'])
    mkdirSync(join(bench.store, room), { recursive: true, mode: 0o700 })
  writeFileSync(join(bench.store, 'epoch.tmp.7'), '')
  writeFileSync(join(bench.store, 'c/mine'), '')
  const push = ['push', `rootfs:${rootfs}`, 'local:app', '--rootfs', 'copy', ...bench.options]
  expect(await varveError(push)).toMatchObject({
    code: 'E_STORE',
    message: expect.stringMatching(/such as c$/) as string,
  })
  rmSync(join(bench.store, 'c/mine'))
  await varveData(push)
  expect((await bench.current()).number).toBe(1)
})

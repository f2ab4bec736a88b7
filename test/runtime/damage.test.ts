// A store that somebody or an earlier crash has hurt: it is said so or mended, and nothing good is lost.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { varveData, varveError } from '../fixture/varve.ts'
import { Bench, runtimeText } from './runtime.ts'

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
    message: expect.stringMatching(/such as "c"$/) as string,
  })
  rmSync(join(bench.store, 'c/mine'))
  await varveData(push)
  expect((await bench.current()).number).toBe(1)
})

test('a kill within rm() leaves a container without a generation, which a push takes up', async () => {
  await bench.push(rootfs)
  const text = runtimeText.replace('  trash "$store/c/$1" && sync', '  kill -9 0')
  expect(text).not.toBe(runtimeText)
  await bench.ask(['rm app\n'], { shell: ['dash'], text })
  expect(await bench.ask(['survey app\n'], { shell: ['dash'], text: runtimeText })).toContain(
    'container app current 0 next 1 ',
  )
  await bench.push(rootfs)
  expect((await bench.current()).number).toBe(1)
})

test('a good tree that cannot be read for want of space is not set aside', async () => {
  mkdirSync(bench.store)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=80m,mode=700', 'store', bench.store])
  try {
    await bench.push(rootfs)
    writeFileSync(join(tree(), 'suspect'), '')
    expect(() => writeFileSync(join(bench.store, 'runtime/fill'), Buffer.alloc(80 << 20))).toThrow('ENOSPC')
    for (const request of ['verify app', `repair ${basename(tree())}`])
      expect(await bench.ask([`${request}\n`], { shell: ['dash'], text: runtimeText })).toMatch(/^die E_NOSPACE /)
    expect(existsSync(join(tree(), 'ok'))).toBe(true)
  } finally {
    execFileSync('umount', [bench.store])
  }
})

test('verify() and another recovery at the same time do not disturb each other', async () => {
  await bench.push(rootfs)
  // a recovery of another process falls between every two steps of the reading
  const recovery = runtimeText.replace(/^while read -r verb words; do[^]*/m, 'recover')
  const other = join(bench.work, 'recovery.sh')
  writeFileSync(other, recovery)
  const args = ['varve', bench.work, '0', bench.store, join(bench.work, 'bundles')].join(' ')
  const text = runtimeText.replaceAll("printf 'varve-tree 1\\n'\n", (line) => `sh -c '. ${other}' ${args} >&2; ${line}`)
  expect(text).not.toBe(runtimeText)
  expect(await bench.ask(['verify app\n'], { shell: ['dash'], text })).toMatch(/ good\nok\n$/)
  expect(bench.leftovers()).toEqual([])
})

// What was hashed before and not written to since is not read again; what was written to is, whatever its times say.
import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { varve, varveData } from '../fixture/varve.ts'
import { Bench } from './runtime.ts'

let bench: Bench
let rootfs: string
beforeEach(() => {
  bench = new Bench()
  rootfs = join(bench.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc'), { recursive: true })
  for (let i = 0; i < 150; i++) writeFileSync(join(rootfs, `etc/${i} of\\150`), `contents ${i}`)
  for (let i = 0; i < 20; i++) linkSync(join(rootfs, `etc/${i} of\\150`), join(rootfs, `link ${i}`))
})
afterEach(() => bench.remove())

const part = (name: string): string => new URL(`../../src/runtime/${name}.sh`, import.meta.url).pathname

test.each([[['dash']], [['bash', '--posix']]])('write_manifest() under %s reads what it does not know', (shell) => {
  mkdirSync(join(bench.store, 'tx'), { recursive: true })
  const written = (known: string): string[] => {
    const script = `. ${part('prelude')}; . ${part('manifest')}; write_manifest "$5" '' "$6" "$7"`
    const words = ['-c', script, 'varve', '/root', '0', bench.store, '/x', rootfs, known, join(bench.work, 'hashed')]
    return execFileSync(shell[0] ?? '', [...shell.slice(1), ...words], { encoding: 'latin1' }).split('\n')
  }
  const whole = written('')
  const [boot, ...lines] = readFileSync(join(bench.work, 'hashed'), 'latin1').trimEnd().split('\n')
  expect(boot).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim())
  const sums = whole.slice(whole.indexOf('sums 170') + 1).slice(0, 170)
  expect(lines.map((line) => line.split(' ')[2])).toEqual(sums)
  // told wrongly, to see where it was believed: every third file, and all links to it
  const wrong = new Set(lines.filter((_, i) => i % 3 === 0).map((line) => line.split(' ')[0]))
  const known = join(bench.work, 'known')
  writeFileSync(known, [...wrong].map((inode) => `${inode} ${'f'.repeat(64)}\n`).join(''))
  const expected = lines.map((line) => (wrong.has(line.split(' ')[0]) ? 'f'.repeat(64) : line.split(' ')[2]))
  const partly = written(known)
  expect(partly.slice(partly.indexOf('sums 170') + 1).slice(0, 170)).toEqual(expected)
  expect(partly.filter((line) => !/^[0-9a-f]{64}$/.test(line))).toEqual(
    whole.filter((line) => !/^[0-9a-f]{64}$/.test(line)),
  )
})

const push = async (...more: string[]): Promise<number> =>
  (await varveData<{ bytes: { delta: number } }>(['push', `rootfs:${rootfs}`, 'local:app', '--rootfs', 'copy', ...more, ...bench.options])).bytes.delta // prettier-ignore
const trees = (): string[] => readdirSync(join(bench.store, 'tree'))
const inTree = (...names: string[]): string => join(bench.store, 'tree', trees()[0] ?? '', ...names)

test('a push believes what was hashed in this boot, and nothing else', async () => {
  await push()
  const hashed = inTree('hashed')
  const text = readFileSync(hashed, 'latin1').replace(/[0-9a-f]{64}$/gm, 'f'.repeat(64))
  writeFileSync(hashed, text.replace(/^.*/, '0'))
  expect(await push('--cmd', '/other')).toBe(0)
  writeFileSync(hashed, text)
  expect(await push('--cmd', '/another')).toBeGreaterThan(0) // it was taken for damaged
  await bench.current()
})

const alter = (file: string): void => {
  const like = join(bench.work, 'like')
  execFileSync('touch', ['-r', file, like])
  writeFileSync(file, 'CONTENTS'.padEnd(statSync(file).size))
  execFileSync('touch', ['-r', like, file])
}

test.each(['root/etc/7 of\\150', 'root/etc/70 of\\150'])(
  'a push finds other contents of the same size and times in %s',
  async (name) => {
    await push()
    alter(inTree(name))
    expect(await push('--cmd', '/other')).toBeGreaterThan(0)
    await bench.current()
    alter(inTree(name))
    writeFileSync(join(rootfs, 'new'), 'new')
    await push()
    await bench.current()
    expect(trees().filter((tree) => tree.includes('.bad.')).length).toBe(2)
  },
)

const touch = (): void => void execFileSync('touch', ['-d', '2001-01-01', join(rootfs, 'etc/70 of\\150')])
const rename = (): void => renameSync(join(rootfs, 'etc/70 of\\150'), join(rootfs, 'moved'))

// a file under another name with its old metadata is linked, not copied
test.each([
  ['the same path', touch],
  ['another path', () => (touch(), rename())],
])('a copy to %s has the contents that its origin was known to have, unless that was altered', async (_to, change) => {
  await push()
  alter(inTree('root/etc/70 of\\150'))
  change()
  await push()
  await bench.current()
  const whole = trees().filter((tree) => !tree.includes('.bad.'))
  expect([whole.length, trees().length]).toEqual([1, 2])
})

test.each([
  ['the same path', touch],
  ['another path', () => (touch(), rename())],
])('a copy to %s is not read', async (_to, change) => {
  await push()
  const hashed = inTree('hashed')
  const { ino } = statSync(inTree('root/etc/70 of\\150'))
  const wrong = new RegExp(`^(${ino} .*) .*`, 'm')
  writeFileSync(hashed, readFileSync(hashed, 'latin1').replace(wrong, `$1 ${'f'.repeat(64)}`))
  change()
  // what was told wrongly was believed, and so it is no more what it should be
  const { stderr } = await varve(['push', `rootfs:${rootfs}`, 'local:app', '--rootfs', 'copy', ...bench.options])
  expect(stderr).toMatch(/what was built is not .*sending/)
  await bench.current()
})

test('gc keeps what was hashed of files that lose a link by it', async () => {
  await push()
  const old = trees()
  writeFileSync(join(rootfs, 'new'), 'new')
  await push()
  await varveData(['gc', 'local', '--keep', '1', ...bench.options])
  expect(trees()).not.toEqual(expect.arrayContaining(old))
  const hashed = inTree('hashed')
  const [, ...lines] = readFileSync(hashed, 'latin1').trimEnd().split('\n')
  expect(lines.length).toBe(171)
  writeFileSync(hashed, readFileSync(hashed, 'latin1').replace(/[0-9a-f]{64}$/gm, 'f'.repeat(64)))
  expect(await push('--cmd', '/other')).toBeGreaterThan(0) // it was taken for damaged
})

// A disk that is full, of blocks or of inodes, at whatever step: it is said so, nothing is lost, and nothing is left behind.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest'
import { Bench, runtimeText, type Delta } from './runtime.ts'

const dash = { shell: ['dash'], text: runtimeText }
let old: Bench
let delta: Delta
let bench: Bench

beforeAll(async () => {
  old = new Bench()
  const rootfs = join(old.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc'), { recursive: true })
  writeFileSync(join(rootfs, 'etc/same'), 'same')
  await old.push(rootfs)
  writeFileSync(join(rootfs, 'etc/new'), randomBytes(40 << 10))
  for (let file = 0; file < 8; file++) writeFileSync(join(rootfs, `etc/${file}`), `${file}`)
  delta = await old.delta(rootfs)
})
afterAll(() => old.remove())

beforeEach(() => {
  bench = new Bench()
  mkdirSync(bench.store)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=700', 'store', bench.store])
  execFileSync('cp', ['-a', `${old.store}/.`, bench.store])
})
afterEach(async () => {
  execFileSync('sh', [
    '-c',
    'grep " $0/" /proc/self/mountinfo | cut -d" " -f5 | xargs -r umount; umount "$0"',
    bench.store,
  ])
  await bench.remove()
})

const resize = (options: string): Buffer => execFileSync('mount', ['-o', `remount,${options}`, bench.store])
const leave = {
  blocks: (kib: number): void => {
    const { blocks, bfree, bsize } = statfsSync(bench.store)
    resize(`size=${((blocks - bfree) * bsize) / 1024 + kib}k`)
  },
  inodes: (count: number): void => {
    const { files, ffree } = statfsSync(bench.store)
    resize(`nr_inodes=${files - ffree + count}`)
  },
}
const room = (): Buffer => resize('size=64m,nr_inodes=100000')

/** What must have failed for the test to mean something. */
const inReceive = {
  blocks: ['note the intent', 'unpack the delta', 'verify the tree'],
  inodes: ['note the intent', 'unpack the delta', 'join what is new'],
}
const inActivate = {
  copy: { blocks: ['copy the root filesystem'], inodes: ['copy the root filesystem'] },
  overlay: {
    blocks: ['write the generation'],
    inodes: ['make the bundle', 'make the writable layer', 'mount the root filesystem'],
  },
}
const pushes = (['copy', 'overlay'] as const).flatMap((rootfs) => [
  { rootfs, tree: 'sent' as const },
  { rootfs, tree: 'held' as const },
])
const kinds = [
  { what: 'blocks', code: 'E_NOSPACE', says: 'no space left', steps: { sent: 12, held: 4 } },
  { what: 'inodes', code: 'E_NOINODES', says: 'no inodes left', steps: { sent: 2, held: 2 } },
] as const

describe.each(kinds)('a store short of $what', ({ what, code, says, steps }) => {
  test.each(pushes)(
    'refuses a push onto $rootfs of a tree $tree, at any step, and takes the next',
    async ({ rootfs, tree }) => {
      if (tree === 'held') await bench.deliver(delta, { ...dash, rootfs, expected: 0, number: 1 })
      const actions = new Set<string>()
      let number = 2
      for (let free = 0; ; free += steps[tree]) {
        leave[what](free)
        const said = await bench.deliver(delta, { ...dash, rootfs, expected: 1, number })
        room()
        if (/^generation \d+$/m.test(said)) break
        const [, die, action] = /die (E_\w+) cannot ([^:]*): /.exec(said) ?? []
        expect([free, die, said]).toEqual([free, code, expect.stringContaining(says)])
        actions.add(action ?? '')
        expect(bench.leftovers()).toEqual([])
        expect((await bench.current()).number).toBe(1)
        expect(readFileSync('/proc/self/mountinfo', 'latin1')).not.toContain(` ${bench.store}/`)
        if (existsSync(join(bench.store, `c/app/bundle/${number}`)))
          expect(readdirSync(join(bench.store, `c/app/bundle/${number++}`))).toEqual([])
        if (tree === 'sent') rmSync(join(bench.store, 'tree', delta.tree), { recursive: true, force: true })
      }
      expect([...actions]).toEqual(expect.arrayContaining(tree === 'sent' ? inReceive[what] : inActivate[rootfs][what]))
    },
  )

  test('lets a rollback and gc work, also after a reboot', async () => {
    expect(await bench.deliver(delta, { ...dash, rootfs: 'overlay', expected: 1, number: 2 })).toMatch(
      /generation 2\nok\n$/,
    )
    for (const [request, expected] of [
      ['rollback app 2 1', 3],
      ['rollback app 3 2', 4],
      ['gc 1 no', 4],
    ] as const) {
      room()
      // what a push that found space would have left
      await bench.ask([`gc 9 no\n`], dash)
      expect(existsSync(join(bench.store, 'reserve'))).toBe(true)
      writeFileSync(join(bench.store, 'boot'), 'another')
      leave[what](0)
      expect(await bench.ask([`${request}\n`], dash)).toMatch(/ok\n$/)
      expect((await bench.current()).number).toBe(expected)
      expect(bench.leftovers()).toEqual([])
    }
    expect(readdirSync(join(bench.store, 'c/app/gen'))).toEqual(['4'])
  })
})

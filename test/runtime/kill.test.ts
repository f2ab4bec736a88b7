// SIGKILL at every step of receive and activate: the current generation is the old or the new one, and the next push converges.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Bench, runtimeText, shells, type Delta } from './runtime.ts'

const steps = [...runtimeText.matchAll(/^ *: step ([a-z]+)$/gm)].map((match, occurrence) => ({
  step: match[1] ?? '',
  occurrence,
}))
const kinds = [
  { lock: 'flock', text: runtimeText },
  { lock: 'a directory lock', text: runtimeText.replace('  if has flock; then', '  if false; then') },
]

let old: Bench
let delta: Delta
let trees: { before: string; after: string }

beforeAll(async () => {
  old = new Bench()
  const rootfs = join(old.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc/deep'), { recursive: true })
  writeFileSync(join(rootfs, 'etc/same'), 'same')
  writeFileSync(join(rootfs, 'etc/deep/change'), 'one')
  writeFileSync(join(rootfs, 'etc/go'), 'going')
  await old.push(rootfs)
  const before = (await old.current()).tree
  const changed = join(old.work, 'changed')
  execFileSync('cp', ['-a', rootfs, changed])
  writeFileSync(join(changed, 'etc/deep/change'), 'two!')
  writeFileSync(join(changed, 'etc/new'), 'new')
  execFileSync('cp', ['-a', join(changed, 'etc/go'), join(changed, 'etc/moved')])
  delta = await old.delta(changed)
  trees = { before, after: delta.tree }
})
afterAll(() => old.remove())

test('the runtime has steps to be killed at', () => {
  expect(steps.length).toBeGreaterThanOrEqual(14)
  expect(kinds[1]?.text).not.toBe(runtimeText)
})

for (const shell of shells)
  for (const { lock, text } of shell[0] === 'dash' ? kinds : kinds.slice(0, 1))
    test.each(steps)(
      `a kill at step $step ($occurrence) under ${shell.join(' ')} with ${lock} leaves old or new, and the next push converges`,
      async ({ occurrence }) => {
        const bench = old.clone()
        try {
          let seen = 0
          const killing = text.replaceAll(/^ *: step [a-z]+$/gm, (line) =>
            seen++ === occurrence ? `${line}; kill -9 0` : line,
          )
          const said = await bench.deliver(delta, { shell, text: killing, expected: 1, number: 2 })
          const { number, tree } = await bench.current()
          expect([trees.before, trees.after]).toContain(tree)
          expect(number === 1 ? trees.before : trees.after).toBe(tree)
          expect(said.split('\n').filter((line) => line === 'ok').length).toBeLessThan(2)
          const next = Math.max(
            2,
            ...(await bench.ask(['survey app\n'], { shell, text }))
              .split('\n')
              .flatMap((line) => /^container app current \d+ next (\d+)/.exec(line)?.[1] ?? [])
              .map(Number),
          )
          expect(await bench.deliver(delta, { shell, text, expected: number, number: next })).toMatch(
            /ok\ngeneration \d+\nok\n$/,
          )
          expect(await bench.current()).toEqual({ number: next, tree: trees.after })
          expect(bench.leftovers()).toEqual([])
        } finally {
          await bench.remove()
        }
      },
    )

test('two deliveries at once: one wins, the other says so', async () => {
  for (const { text } of kinds) {
    const bench = old.clone()
    const both = await Promise.all(
      [1, 2].map(() => bench.deliver(delta, { shell: ['dash'], text, expected: 1, number: 2 })),
    )
    expect(both.filter((said) => said.endsWith('generation 2\nok\n'))).toHaveLength(1)
    expect(both.filter((said) => /die E_(CONFLICT|LOCKED|HASH) /.test(said))).toHaveLength(1)
    expect(await bench.current()).toEqual({ number: 2, tree: trees.after })
    await bench.remove()
  }
})

test.each([
  ['cut', (bytes: Buffer) => bytes.subarray(0, -512), 'E_HASH'],
  [
    'changed',
    (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 700), Buffer.from('x'), bytes.subarray(701)]),
    'E_HASH',
  ],
  ['of another base', (bytes: Buffer) => bytes, 'E_CONFLICT'],
])('a delta that is %s is refused and changes nothing', async (what, change, code) => {
  const bench = old.clone()
  const bad = {
    ...delta,
    spooled: change(readFileSync(delta.file)),
    base: what === 'of another base' ? '-' : delta.base,
  }
  expect(await bench.deliver(bad, { shell: ['dash'], text: runtimeText, expected: 1, number: 2 })).toContain(
    `die ${code} `,
  )
  expect(await bench.current()).toEqual({ number: 1, tree: trees.before })
  await bench.remove()
})

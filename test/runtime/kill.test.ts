// SIGKILL at every step of receive and activate, and at any time: the current generation is the old or the new one, and the next push converges.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { busyboxDelta, busyboxShell } from './busybox.ts'
import { Bench, runtimeText, type Delta } from './runtime.ts'

const steps = [...runtimeText.matchAll(/^ *: step ([a-z]+)$/gm)].map((match, occurrence) => ({
  step: match[1] ?? '',
  occurrence,
}))
const kinds = [
  { lock: 'flock', text: runtimeText },
  { lock: 'a directory lock', text: runtimeText.replace('  if has flock; then', '  if false; then') },
]
const ways = [
  ...kinds.map(({ lock, text }) => ({ name: `dash with ${lock}`, shell: ['dash'], text, busybox: false })),
  { name: 'bash --posix', shell: ['bash', '--posix'], text: runtimeText, busybox: false },
  { name: 'BusyBox', shell: busyboxShell(), text: runtimeText, busybox: true },
]

let old: Bench
let deltas: { gnu: Delta; busybox: Delta }
let trees: { before: string; after: string }

beforeAll(async () => {
  old = new Bench()
  const rootfs = join(old.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc/deep'), { recursive: true })
  writeFileSync(join(rootfs, 'etc/same'), 'same')
  writeFileSync(join(rootfs, 'etc/deep/change'), 'one')
  writeFileSync(join(rootfs, 'etc/go'), 'going')
  wholeSeconds(rootfs)
  await old.push(rootfs)
  const before = (await old.current()).tree
  const changed = join(old.work, 'changed')
  execFileSync('cp', ['-a', rootfs, changed])
  writeFileSync(join(changed, 'etc/deep/change'), 'two!')
  writeFileSync(join(changed, 'etc/new'), 'new')
  execFileSync('cp', ['-a', join(changed, 'etc/go'), join(changed, 'etc/moved')])
  wholeSeconds(changed)
  deltas = { gnu: await old.delta(changed), busybox: await busyboxDelta(rootfs, changed) }
  trees = { before, after: deltas.gnu.tree }
})
afterAll(() => old.remove())

/** Those are all that BusyBox's tools know. */
function wholeSeconds(directory: string): void {
  execFileSync('find', [directory, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
}

test('the runtime has steps to be killed at', () => {
  expect(steps.length).toBeGreaterThanOrEqual(14)
  expect(kinds[1]?.text).not.toBe(runtimeText)
  expect(deltas.busybox.tree).toBe(deltas.gnu.tree)
})

/** A delivery that is killed, what it left, and the next one. */
async function killed(way: (typeof ways)[number], how: { text?: string; killAfterMs?: number }): Promise<number> {
  const bench = old.clone()
  const delta = way.busybox ? deltas.busybox : deltas.gnu
  const said = await bench.deliver(delta, { ...way, expected: 1, number: 2, ...how })
  const { number, tree } = await bench.current()
  expect(tree).toBe(number === 1 ? trees.before : trees.after)
  expect(said.endsWith('generation 2\nok\n') && number === 1).toBe(false)
  const survey = await bench.ask(['survey app\n'], way)
  const next = Math.max(2, Number(/^container app current \d+ next (\d+)/m.exec(survey)?.[1]))
  expect(await bench.deliver(delta, { ...way, expected: number, number: next })).toMatch(/ok\ngeneration \d+\nok\n$/)
  expect(await bench.current()).toEqual({ number: next, tree: trees.after })
  expect(bench.leftovers()).toEqual([])
  await bench.remove()
  return number
}

describe.each(ways)('under $name', (way) => {
  test.each(steps)('a kill at step $step ($occurrence) leaves old or new, and the next push converges', async (at) => {
    let seen = 0
    const text = way.text.replaceAll(/^ *: step [a-z]+$/gm, (line) =>
      seen++ === at.occurrence ? `${line}; kill -9 0` : line,
    )
    const committed = steps.findIndex(({ step }) => step === 'switched')
    expect(await killed(way, { text })).toBe(at.occurrence < committed ? 1 : 2)
  })
})

test.each(['tx/intent', 'epoch', 'config.json', 'gen/2'])(
  'a kill while %s is half written leaves no half',
  async (file) => {
    const [way] = ways
    const text = runtimeText.replace('cat >"$1.tmp.$$" && sync', (line) =>
      line.replace('&&', `&& case $1 in */${file}) kill -9 0 ;; esac &&`),
    )
    expect(text).not.toBe(runtimeText)
    expect(way && (await killed(way, { text }))).toBe(1)
  },
)

test('20 kills at any time leave old or new, and the next push converges', async () => {
  const seed = Number(process.env['VARVE_TEST_SEED'] ?? Date.now() % 2 ** 31)
  console.log(`seed of the kills: VARVE_TEST_SEED=${seed}`)
  const random = numbersFrom(seed)
  const longest = new Map<unknown, number>()
  for (const way of ways) {
    const bench = old.clone()
    const start = performance.now()
    await bench.deliver(way.busybox ? deltas.busybox : deltas.gnu, { ...way, expected: 1, number: 2 })
    longest.set(way, performance.now() - start)
    await bench.remove()
  }
  for (let kill = 0; kill < 20; kill++) {
    const way = ways[kill % ways.length] ?? expect.fail()
    const killAfterMs = random() * 1.1 * (longest.get(way) ?? 0)
    await killed(way, { killAfterMs }).catch((cause: unknown) => {
      throw new Error(`kill ${kill} under ${way.name} after ${killAfterMs} ms`, { cause })
    })
  }
})

/** Numbers from 0 up to 1, the same for the same seed. */
function numbersFrom(seed: number): () => number {
  let state = seed
  return () => {
    // https://en.wikipedia.org/wiki/Linear_congruential_generator
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

test('two deliveries at once: one wins, the other says so', async () => {
  for (const { text } of kinds) {
    const bench = old.clone()
    const both = await Promise.all(
      [1, 2].map(() => bench.deliver(deltas.gnu, { shell: ['dash'], text, expected: 1, number: 2 })),
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
    ...deltas.gnu,
    spooled: change(readFileSync(deltas.gnu.file)),
    base: what === 'of another base' ? '-' : deltas.gnu.base,
  }
  expect(await bench.deliver(bad, { shell: ['dash'], text: runtimeText, expected: 1, number: 2 })).toContain(
    `die ${code} `,
  )
  expect(await bench.current()).toEqual({ number: 1, tree: trees.before })
  await bench.remove()
})

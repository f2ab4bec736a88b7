// A switch that is asked for together with its tree: it is done only where the tree was made, for a client that still listens.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Bench, evaluated, runtimeText, type Delta } from './runtime.ts'

let bench: Bench
let delta: Delta
let bytes: Buffer
let before: string

beforeEach(async () => {
  bench = new Bench()
  const rootfs = join(bench.work, 'rootfs')
  mkdirSync(rootfs)
  writeFileSync(join(rootfs, 'same'), 'same')
  await bench.push(rootfs)
  const changed = join(bench.work, 'changed')
  cpSync(rootfs, changed, { recursive: true, preserveTimestamps: true })
  writeFileSync(join(changed, 'new'), 'new')
  delta = await bench.delta(changed)
  bytes = readFileSync(delta.file)
  before = (await bench.current()).tree
})
afterEach(() => bench.remove())

/** The tree, inline, and the switch to it, as one write; the sum may be wrong. */
function together(sum = createHash('sha256').update(bytes).digest('hex')): string {
  const { length } = bytes
  const receive = `receive ${delta.tree} ${delta.base} inline ${length} ${sum} none:${length} ${length} stream`
  const activate = `then activate app 1 2 ${delta.tree} copy ${'0'.repeat(64)} 2 stream`
  return `${receive}\n${length}\n${bytes.toString('latin1')}0\n${activate}\n2\n{}0\n`
}

describe.each([['dash'], ['bash', '--posix']])('%s', (...shell) => {
  const ask = (...requests: string[]): Promise<string> => bench.ask(requests, { shell, text: runtimeText })

  test('switches where the tree was made', async () => {
    expect(await ask(together())).toMatch(/^ok\n(?:.*\n)*generation 2\nok\n$/)
    expect(await bench.current()).toEqual({ number: 2, tree: delta.tree })
  })

  test('does not switch where it was not, and goes on behind what was to be read', async () => {
    const said = await ask(`${together('0'.repeat(64))}verify app\nthen verify app\n`)
    expect(said.split('\n').filter((line) => /^(?:die|ok)/.test(line))).toEqual([
      'die E_HASH cannot take the delta: its SHA-256 is wrong',
      'die E_PROTO cannot go on: what came before was not received',
      'ok',
      'die E_PROTO cannot go on: what came before was not received',
    ])
    expect(await bench.current()).toEqual({ number: 1, tree: before })
    // a client that goes on looks at the host first
    expect(await ask(`${together('0'.repeat(64))}survey app\n${together()}`)).toMatch(/\ngeneration 2\nok\n$/)
    expect(await bench.current()).toEqual({ number: 2, tree: delta.tree })
  })

  test('does not switch for a client that went away meanwhile', async () => {
    const [program = '', ...args] = shell
    // the client is gone before there is an answer
    const text = runtimeText.replace('  : step taken\n', '  sleep 1\n')
    expect(text).not.toBe(runtimeText)
    const given = evaluated(text, [join(bench.work, 'home'), '0', bench.store, join(bench.work, 'bundles')])
    const child = spawn(program, [...args, ...given], { stdio: ['pipe', 'pipe', 'ignore'] })
    child.stdin.end(Buffer.from(together(), 'latin1'))
    child.stdout.destroy()
    await new Promise((resolve) => void child.once('exit', resolve))
    expect(await bench.current()).toEqual({ number: 1, tree: before })
    // the tree is there for the next one
    expect(await ask(together())).toMatch(/^present [0-9a-f]{64}\nok\n(?:.*\n)*generation 2\nok\n$/)
  })
})

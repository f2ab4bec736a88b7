// A tree whose names share nothing with those of the old one costs what its contents differ by, over SSH.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Planned } from '../../src/verbs/plan.ts'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { fill } from '../fixture/redeploy.ts'
import { varveData } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const CHUNKS = 24

function noise(name: string, bytes: number): Buffer {
  return Buffer.concat(
    Array.from({ length: bytes / 32 }, (_, i) => createHash('sha256').update(`${name} ${i}`).digest()),
  )
}

function put(root: string, path: string, contents: string | Buffer): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), contents)
}

/** What a bundler writes: as long as one another, under names that say nothing. */
function chunk(number: number, edit = ''): string {
  const lines = Array.from({ length: 300 }, (_, i) => noise(`${number} ${i}`, 96).toString('base64'))
  return lines.toSpliced(150, 0, edit).join('\n')
}

function fillAll(root: string): void {
  fill(root)
  put(root, 'opt/blob.bin', noise('blob', 1 << 20))
  for (let i = 0; i < CHUNKS; i++)
    put(root, `srv/www/${noise(`chunk ${i}`, 32).toString('hex').slice(0, 20)}.js`, chunk(i))
}

/** Every name is another, and something is changed in each. */
function changeAll(root: string): void {
  const before = (path: string): Buffer => readFileSync(join(root, path))
  const [program, text, module, blob] = [before('opt/program'), before('opt/text'), before('opt/app-1.0/module.js'), before('opt/blob.bin')] // prettier-ignore
  rmSync(join(root, 'opt'), { recursive: true })
  rmSync(join(root, 'srv'), { recursive: true })
  const now = Buffer.concat([
    program.subarray(0, 1 << 20),
    Buffer.from('inserted '.repeat(9)),
    program.subarray(1 << 20),
  ])
  for (let i = 2 << 20; i < 2.5 * (1 << 20); i += 128) now.writeUInt32LE((now.readUInt32LE(i) + 256) % 2 ** 32, i)
  put(root, 'usr/lib/daemon', now)
  put(root, 'usr/share/words/list', text.toString().replace('line 79190\n', 'another line\n'))
  put(root, 'usr/lib/js/main.mjs', module.toString().replace('f(104729)', 'g(1)'))
  put(root, 'var/lib/data', Buffer.concat([Buffer.from('header'), blob.subarray(0, 700_000), Buffer.from('and'), blob.subarray(750_000)])) // prettier-ignore
  for (let i = 0; i < CHUNKS; i++) put(root, `usr/share/web/${noise(`later ${i}`, 32).toString('hex').slice(0, 20)}.mjs`, chunk(i, 'edited')) // prettier-ignore
}

describe.each([
  ['all tools', [], 8000],
  ['neither perl, python3 nor zstd', ['perl', 'python3', 'zstd'], 250_000],
] as const)('push() of a tree under other names to a host with %s', (_, strip, most) => {
  let host: Host
  let work: Work
  beforeAll(async () => {
    host = await startHost({ strip: [...strip] })
    work = workFor(host)
    fillAll(work.rootfs)
    await varveData(work.push('app'))
    changeAll(work.rootfs)
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })
  const plan = async (state: string, output: string): Promise<Report> => {
    const words = ['plan', `rootfs:${work.rootfs}`, `${host.alias}:app`, '-F', host.sshConfig, '-o', output]
    return (await varveData<{ report: Planned['report'] }>([...words, '--state-dir', state])).report
  }

  test('costs a small part of what it costs without old contents, the same each time, and is exact', async () => {
    const [emptied, copied, first, second] = ['emptied', 'copied', 'first', 'second'].map((name) => `${work.state}.${name}`) as [string, string, string, string] // prettier-ignore
    for (const copy of [emptied, copied]) cpSync(work.state, copy, { recursive: true })
    await varveData(['cache', 'prune', '--state-dir', emptied])
    const without = await plan(emptied, `${work.state}.third`)
    expect(without.bytes.delta).toBeGreaterThan(3_000_000)
    const planned = await plan(work.state, first)
    await plan(copied, second)
    expect(execFileSync('cmp', [first, second]).toString()).toBe('')
    const { bytes } = await varveData<Report>(work.push('app'))
    expect(bytes.delta).toBe(planned.bytes.delta)
    expect(bytes.changed).toBe(without.bytes.changed)
    expect(bytes.delta).toBeLessThan(most)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
  })

  test('costs no more where only what a bundler names is named anew, each like the others', async () => {
    for (let i = 0; i < CHUNKS; i++) {
      rmSync(join(work.rootfs, `usr/share/web/${noise(`later ${i}`, 32).toString('hex').slice(0, 20)}.mjs`))
      put(
        work.rootfs,
        `usr/share/web/${noise(`last ${i}`, 32).toString('hex').slice(0, 20)}.mjs`,
        chunk(i, 'edited again'),
      )
    }
    const { bytes } = await varveData<Report>(work.push('app'))
    expect(bytes.changed).toBeGreaterThan(900_000)
    expect(bytes.delta).toBeLessThan(5000)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
  })
})

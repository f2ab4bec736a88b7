// Whatever zstd a host has, and however little memory for it: what is sent is what that one decodes, and the tree is exact.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { change, fill } from '../fixture/redeploy.ts'
import { varve } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'
import { MISSING, ZSTDS, replaceZstd, type Zstd } from '../fixture/zstd.ts'

let host: Host
let work: Work
let calls: () => Promise<string[]>

/** With perl or python3 programs are patches, not in frames. */
async function begin(zstd: Zstd, kib?: number): Promise<void> {
  host = await startHost({ strip: ['perl', 'python3', 'xz'] })
  calls = await replaceZstd(host, zstd, kib)
  work = workFor(host)
}
async function end(): Promise<void> {
  await host.stop()
  work[Symbol.dispose]()
}

/** What is pushed is exact; of what zstd was called for, the frames that it decoded after old files. */
async function push(): Promise<{ stderr: string; report: Report; called: string[]; frames: number }> {
  const ran = await varve([...work.push('app'), '--json'])
  expect(ran.status, ran.stdout + ran.stderr).toBe(0)
  await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
  const called = await calls()
  const frames = called.filter((words) => words.includes('/in/before')).length
  return { stderr: ran.stderr, report: (JSON.parse(ran.stdout) as { data: Report }).data, called, frames }
}

test('the other versions of zstd were fetched', ({ skip }) => {
  skip(MISSING.length > 0, `the mirror has no zstd ${MISSING.join(', ')} any more`)
  expect(ZSTDS.length).toBe(5)
})

describe.each(ZSTDS)('push() to a host with zstd %s', (zstd) => {
  const patches = zstd !== '1.0.0'
  beforeAll(async () => {
    await begin(zstd)
    fill(work.rootfs)
  })
  afterAll(end)

  test('sends what is new as zstd', async () => {
    const version = await host.exec('zstd --version')
    expect(version.stdout.toString()).toContain(`v${zstd === 'own' ? '1.5.4' : zstd.slice(0, 5)}`)
    expect(version.stdout.toString()).toContain(zstd.endsWith('32-bit') ? '32-bit' : '64-bit')
    await calls()
    const { stderr, called } = await push()
    expect([stderr, called.filter((words) => words === '-dc').length > 0]).toEqual(['', true])
  })

  test(`sends changed files ${patches ? 'as a frame after old ones' : 'as copies'}, for few bytes`, async () => {
    change(work.rootfs, 1)
    const { stderr, report, frames } = await push()
    expect([stderr, frames]).toEqual(['', patches ? 1 : 0])
    expect(report.bytes.sent).toBeLessThan(patches ? 60_000 : 400_000)
  })
})

describe('push() to a host with little memory', () => {
  const FILES = 8
  const MIB = 1 << 20
  const LIMIT_KIB = 40 << 10
  /** Lines of which every tenth is another in each round, so that neither copies nor whole files are smaller. */
  const write = (round: number): void => {
    mkdirSync(join(work.rootfs, 'data'), { recursive: true })
    for (let file = 0; file < FILES; file++) {
      const line = (i: number): string => `${file}-${(i * 7919) % 1_000_003}-${i % 10 === 0 ? i * round : 0}\n`
      writeFileSync(join(work.rootfs, `data/${file}`), Array.from({ length: 250_000 }, (_, i) => line(i)).join('').slice(0, 3 * MIB)) // prettier-ignore
    }
  }
  const sayMemory = async (mib: number): Promise<void> => {
    const ran = await host.exec(`umount /proc/meminfo 2>/dev/null
      sed 's/^MemAvailable:.*/MemAvailable: ${mib << 10} kB/' /proc/meminfo >/run/meminfo && mount --bind /run/meminfo /proc/meminfo`)
    expect(ran.stderr).toBe('')
  }
  beforeAll(async () => {
    await begin('own', LIMIT_KIB)
    write(1)
    await sayMemory(64)
    await push()
  })
  afterAll(end)

  test('that it tells of sends frames that this is enough for', async () => {
    write(2)
    const { stderr, frames } = await push()
    expect(stderr).toBe('')
    expect(frames).toBeGreaterThanOrEqual(FILES / 2)
  })

  test('that it does not tell of sends whole files in the end', async () => {
    await sayMemory(1024)
    write(3)
    const { stderr, frames } = await push()
    expect(stderr).toContain('sending whole files')
    expect(frames).toBeGreaterThan(0)
  })
})

// The main job over real SSH on throw-away hosts: push, run, change, push, run, roll back, run.
import { cpSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startHost, type Host, type HostOptions } from '../fixture/host.ts'
import { baseTrees } from '../fixture/trees.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import type { Report } from '../../src/verbs/report.ts'

const variants: readonly HostOptions[] = [
  { userland: 'debian', become: 'sudo' },
  { userland: 'debian', become: 'root', strip: ['zstd'] },
  { userland: 'debian', become: 'doas', strip: ['zstd', 'xz', 'getfattr', 'flock', 'perl'] },
  { userland: 'busybox', become: 'sudo' },
]

describe.each(variants)('on $userland with $become without $strip', (options) => {
  let host: Host
  let work: string
  let common: string[]
  let target: string

  beforeAll(async () => {
    host = await startHost(options)
    work = mkdtempSync(join(tmpdir(), 'varve-e2e-'))
    cpSync(baseTrees().rootfsBusybox, join(work, 'rootfs'), {
      recursive: true,
      preserveTimestamps: true,
      verbatimSymlinks: true,
    })
    writeFileSync(join(work, 'rootfs/say'), '#!/bin/sh\necho one\n', { mode: 0o755 })
    common = [
      '-F',
      host.sshConfig,
      '--state-dir',
      join(work, 'state'),
      ...(options.userland === 'busybox' ? ['--allow-loss', 'mtimes'] : []),
    ]
    target = `${host.alias}:app`
  })
  afterAll(async () => {
    await host.stop()
    rmSync(work, { recursive: true, force: true })
  })

  const push = (): Promise<Report> =>
    varveData<Report>(['push', `rootfs:${join(work, 'rootfs')}`, target, '--cmd', '/say', ...common])
  const run = async (): Promise<string> => {
    const ran = await host.exec('cd /var/lib/machines/app && runc run app </dev/null')
    return ran.stdout.toString() + ran.stderr
  }

  test('push() makes a generation that runc runs', async () => {
    const report = await push()
    expect(report).toMatchObject({ generation: 1, previous: 0 })
    expect(report.entries.added).toBe(report.entries.total)
    expect(report.bytes.sent).toBeGreaterThan(report.bytes.delta)
    if (options.userland !== 'busybox') expect(await run()).toBe('one\n')
  })

  test('push() of the same costs next to nothing and makes no generation', async () => {
    const report = await push()
    expect(report).toMatchObject({ generation: 1, previous: 1, bytes: { delta: 0, changed: 0 } })
    expect(report.bytes.sent + report.bytes.received).toBeLessThan(12_000)
    expect(report.roundTrips).toBeLessThanOrEqual(4)
  })

  test('plan() tells the exact bytes that push() then sends', async () => {
    writeFileSync(join(work, 'rootfs/say'), '#!/bin/sh\necho two\n')
    utimesSync(join(work, 'rootfs/say'), 1_700_000_000, 1_700_000_000)
    const source = `rootfs:${join(work, 'rootfs')}`
    const planned = await varve(['plan', source, target, '--cmd', '/say', '--json', '--detailed-exitcode', ...common])
    expect(planned.status).toBe(10)
    const { data } = JSON.parse(planned.stdout) as { data: { report: Report } }
    const report = await push()
    expect(report.bytes.delta).toBe(data.report.bytes.delta)
    expect(report).toMatchObject({
      generation: 2,
      previous: 1,
      bytes: { changed: 19 },
      entries: { changed: 1, added: 0, removed: 0 },
    })
    expect(report.bytes.sent + report.bytes.received).toBeLessThan(16_000)
    if (options.userland !== 'busybox') expect(await run()).toBe('two\n')
  })

  test('rollback() brings the older one back as a new generation', async () => {
    const done = await varveData<{ generation: number; from: number }>(['rollback', target, ...common.slice(0, 4)])
    expect(done).toMatchObject({ generation: 3, from: 1 })
    if (options.userland !== 'busybox') expect(await run()).toBe('one\n')
  })

  test('verify() finds a changed file, and a push heals it after --repair', async () => {
    expect((await varve(['verify', target, ...common.slice(0, 4)])).status).toBe(0)
    await host.exec('for f in /var/lib/varve/tree/*/root/say; do echo bad >"$f"; done')
    const bad = await varve(['verify', target, '--repair', '--json', ...common.slice(0, 4)])
    expect(bad.status).toBe(3)
    expect((JSON.parse(bad.stdout) as { data: { containers: unknown[] } }).data.containers).toMatchObject(
      [false, false, true].map((current) => ({ current, state: 'bad', differences: ['changed say'], repaired: true })),
    )
    await push()
    expect((await varve(['verify', target, ...common.slice(0, 4)])).status).toBe(0)
  })

  test('gc() and rm() free everything', async () => {
    await varveData(['gc', host.alias, '--keep', '1', ...common.slice(0, 4)])
    await varveData(['rm', target, ...common.slice(0, 4)])
    await varveData(['gc', host.alias, ...common.slice(0, 4)])
    const left = await host.exec(
      'ls -A /var/lib/varve/tree /var/lib/varve/c /var/lib/varve/trash /var/lib/varve/stage /var/lib/machines',
    )
    expect(
      left.stdout
        .toString()
        .split('\n')
        .filter((line) => line !== '' && !line.endsWith(':')),
    ).toEqual([])
    expect((await varveError(['rm', target, ...common.slice(0, 4)])).code).toBe('E_NO_CONTAINER')
  })
})

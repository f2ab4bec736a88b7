// Two operators at once: what they push to one container never mixes, and to two containers of a host both get through.
import { execFileSync } from 'node:child_process'
import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startHost, type Host } from '../fixture/host.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'
import type { Report } from '../../src/verbs/report.ts'

let host: Host
let both: [Work, Work]

const sh = async (command: string): Promise<string> => {
  const ran = await host.exec(command)
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr}`)
  return ran.stdout.toString()
}
/** The same text makes the same tree. */
const change = (work: Work, text: string): void => {
  writeFileSync(join(work.rootfs, 'etc/version'), text)
  for (const path of ['etc/version', 'etc']) utimesSync(join(work.rootfs, path), 1_700_000_000, 1_700_000_000)
}
const deployed = (container: string): Promise<string> => sh(`cat /var/lib/machines/${container}/rootfs/etc/version`)
const isGood = async (container: string): Promise<boolean> =>
  (await varve(['verify', `${host.alias}:${container}`, ...both[0].common])).status === 0
const waiting = 'grep -lz "^flock$" /proc/[0-9]*/cmdline | wc -l'

/** Runs `begin` while somebody holds the store's lock, which is given back once `count` others wait for it. */
async function atOnce<Result>(count: number, begin: () => Promise<Result>): Promise<Result> {
  const holder = host.exec(
    'flock /var/lib/varve/lock sh -c "touch /run/held; until [ -e /run/go ]; do sleep 0.1; done"; rm /run/go /run/held',
  )
  while ((await host.exec('[ -e /run/held ]')).status !== 0) await sleep(50)
  const result = begin()
  const release = async (): Promise<void> => {
    while (Number(await sh(waiting)) < count + 1) await sleep(50)
    await sh('touch /run/go')
  }
  await Promise.all([release(), result.catch(() => {})])
  await holder
  return result
}

beforeAll(async () => {
  host = await startHost()
  both = [workFor(host), workFor(host)]
  execFileSync('sh', ['-c', 'rm -r "$1" && cp -a "$0" "$1"', both[0].rootfs, both[1].rootfs])
  await varveData(both[0].push('app'))
})
afterAll(async () => {
  await host.stop()
  for (const work of both) work[Symbol.dispose]()
})

test.each([
  ['two trees', 'one\n', 'two\n'],
  ['one tree', 'same\n', 'same\n'],
])('of two pushes of %s to one container one wins, and the other says so with status 6', async (_what, ...texts) => {
  const before = await sh('readlink /var/lib/varve/c/app/current')
  for (const [index, work] of both.entries()) change(work, texts[index] ?? '')
  const ran = await atOnce(2, () => Promise.all(both.map((work) => varve([...work.push('app'), '--json']))))
  expect(ran.map(({ status }) => status).toSorted((a, b) => Number(a) - Number(b))).toEqual([0, 6])
  const loser = ran.findIndex(({ status }) => status === 6)
  const { error } = JSON.parse(ran[loser]?.stdout ?? '') as { error: { code: string; message: string; hint: string } }
  expect(error).toEqual({
    code: 'E_CONFLICT',
    message: expect.stringMatching(/^cannot switch app: generation \d+ /) as string,
    hint: 'somebody else has pushed: look at varve status, then push again',
  })
  const next = Number(before.slice(4)) + 1
  expect(await sh('readlink /var/lib/varve/c/app/current')).toBe(`gen/${next}\n`)
  expect(await deployed('app')).toBe(texts[1 - loser])
  expect(await isGood('app')).toBe(true)

  await varveData(both[loser]?.push('app') ?? [])
  expect(await deployed('app')).toBe(texts[loser])
})

test('two pushes to two containers both succeed, and what they share is there once', async () => {
  for (const work of both) change(work, 'shared\n')
  const trees = async (): Promise<number> => Number(await sh('ls /var/lib/varve/tree | wc -l'))
  const before = await trees()
  const reports = await atOnce(2, () =>
    Promise.all(both.map((work, index) => varveData<Report>(work.push(`pair-${index}`)))),
  )
  expect(reports).toMatchObject([{ generation: 1 }, { generation: 1 }])
  expect(await trees()).toBe(before + 1)
  for (const container of ['pair-0', 'pair-1']) {
    expect(await deployed(container)).toBe('shared\n')
    expect(await isGood(container)).toBe(true)
  }
  expect(await sh('ls -A /home/deploy/.cache/varve/spool')).toBe('')
})

test('a push waits long for the lock; what should be done at once says with status 6 that it is held', async () => {
  for (const work of both) change(work, 'late\n')
  const holder = host.exec('flock /var/lib/varve/lock sleep 13')
  while ((await host.exec('flock -n /var/lib/varve/lock true')).status === 0) await sleep(50)
  const pushed = varveData<Report>(both[0].push('app'))
  expect(await varveError(['rollback', `${host.alias}:app`, ...both[1].common])).toEqual({
    code: 'E_LOCKED',
    status: 6,
    message: 'cannot lock /var/lib/varve: another varve works on it',
    hint: 'wait for the other varve to end, then run again',
  })
  await pushed
  await holder
  expect(await deployed('app')).toBe('late\n')
})

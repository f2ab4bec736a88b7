// Containers that run while others push, roll back and clean up: what a process stands on stays, and goes after it.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startHost, type Host } from '../fixture/host.ts'
import { varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'
import type { Collected } from '../../src/verbs/gc.ts'
import type { Report } from '../../src/verbs/report.ts'

let host: Host
let work: Work

const sh = async (command: string): Promise<string> => {
  const ran = await host.exec(command)
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr}`)
  return ran.stdout.toString()
}
const push = (text: string, rootfs: string): Promise<Report> => {
  writeFileSync(join(work.rootfs, 'etc/version'), text)
  return varveData<Report>(work.push(rootfs, '--rootfs', rootfs))
}
const gc = (...more: string[]): Promise<Collected> =>
  varveData<Collected>(['gc', host.alias, '--keep', '1', ...more, ...work.common])
/** All that is in the store and in the directory of the bundles, but the reserve and what only a lock touches. */
const store = (): Promise<string> =>
  sh(`find /var/lib/varve /var/lib/machines ! -path '*/reserve*' ! -path '*/tx*' -printf '%p %y %#m %i %s %T@ %l\\n' | sort
    grep -o ' /var/lib/varve/.* - overlay .*' /proc/self/mountinfo || :`)

beforeAll(async () => {
  host = await startHost()
  work = workFor(host)
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})

test.each(['overlay', 'copy'])('a process on %s keeps all that it sees through push, rollback and gc', async (name) => {
  const target = `${host.alias}:${name}`
  const generations = async (): Promise<string[]> => (await sh(`ls /var/lib/varve/c/${name}/gen`)).trim().split('\n')
  const seen = (): Promise<string> => sh(`cd /proc/$(cat /run/pid)/root && cat etc/version own && ls bin | wc -l`)
  await push('one\n', name)
  await push('two\n', name)
  await sh(`setsid chroot /var/lib/machines/${name}/rootfs /bin/sh -c 'echo mine >own; exec sleep 300' >/dev/null 2>&1 &
    echo $! >/run/pid; until [ -s /proc/$!/root/own ]; do sleep 0.05; done`)
  const before = await seen()
  expect(before).toMatch(/^two\nmine\n/)

  expect(await varveData(['rollback', target, ...work.common])).toMatchObject({ generation: 3, from: 1 })
  expect(await seen()).toBe(before)
  expect(await sh(`cat /var/lib/machines/${name}/rootfs/etc/version`)).toBe('one\n')
  await push('three\n', name)
  expect(await seen()).toBe(before)

  const untouched = await store()
  const planned = await gc('-n')
  expect(await store()).toBe(untouched)
  expect(planned.generations).toEqual([3, 1].map((number) => ({ container: name, number })))
  const { dryRun, ...freed } = await gc()
  expect(planned).toEqual({ ...freed, dryRun: !dryRun })
  expect(await generations()).toEqual(['2', '4'])
  expect(await seen()).toBe(before)

  const running = await store()
  expect(await varveError(['rm', target, ...work.common])).toMatchObject({
    code: 'E_BUSY_MOUNT',
    status: 4,
    message: `cannot remove ${name}: a process runs on generation 2`,
    hint: 'stop the container first: varve stop HOST:NAME, or as it was started',
  })
  expect(await store()).toBe(running)

  await sh('kill $(cat /run/pid); while [ -e /proc/$(cat /run/pid)/root/etc ]; do sleep 0.05; done')
  await gc()
  expect(await generations()).toEqual(['4'])
  await varveData(['rm', target, ...work.common])
  await gc()
  expect(await sh('ls -A /var/lib/varve/tree /var/lib/varve/c /var/lib/machines | grep -v : | grep . || :')).toBe('')
})

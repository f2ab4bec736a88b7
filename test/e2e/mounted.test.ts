// A store on a mount that lets no program run, or none with more rights: an overlay has flags of its own, a copy has not.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { ContainerStatus, Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { answer, serving } from '../fixture/server.ts'
import { varve, varveData, varveError, type Ran } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

let host: Host
let work: Work
let round = 0
const well = ['--restart', '--health-tcp', '8080', '--stop-timeout', '1']
const push = (rootfs: string, ...more: string[]): Promise<Ran> => {
  writeFileSync(join(work.rootfs, 'srv/index.html'), `${++round}\n`)
  return varve(work.push('web', ...serving(8080, 'echo >/dev/null;'), '--rootfs', rootfs, ...well, ...more))
}
const mount = (flags: string): Promise<unknown> => host.exec(`mount -o remount,bind,${flags} /var/lib/varve`)
const status = async (): Promise<ContainerStatus | undefined> =>
  (await varveData<Status>(['status', `${host.alias}:web`, ...work.common])).containers[0]

beforeAll(async () => {
  host = await startHost()
  work = workFor(host)
  mkdirSync(join(work.rootfs, 'srv'))
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})
beforeEach(() => mount('exec,suid,dev'))

test('an overlay runs on it all the same, and what is persisted there is warned of', async () => {
  await mount('noexec,nosuid,nodev')
  expect(await push('overlay')).toMatchObject({ status: 0, stderr: expect.not.stringContaining('W_STORE') })
  expect(await answer(host, 8080)).toBe(`${round}\n`)
  const persisted = await push('overlay', '--persist', '/data')
  expect(persisted.status).toBe(0)
  expect(persisted.stderr).toContain('programs in what is persisted do not run, for it lies on /var/lib/varve, which is mounted noexec (there: mount -o remount,exec /var/lib/varve) [W_STORE]') // prettier-ignore
})

test('a copy is refused on noexec, by push before anything is sent, and what ran runs on', async () => {
  expect((await push('copy')).status).toBe(0)
  const before = await status()
  const answered = await answer(host, 8080)
  await mount('noexec')
  const refusal = {
    code: 'E_STORE',
    status: 4,
    message: 'cannot start web: /var/lib/varve is mounted noexec, and its root filesystem is a copy there (mount -o remount,exec /var/lib/varve)',
    hint: 'name another with --store DIR',
  } // prettier-ignore
  writeFileSync(join(work.rootfs, 'srv/index.html'), 'never\n')
  expect(await varveError(work.push('web', '--rootfs', 'copy', ...well))).toMatchObject(refusal)
  expect(await varveError(['restart', `${host.alias}:web`, ...work.common])).toMatchObject(refusal)
  expect(await status()).toEqual(before)
  expect(await answer(host, 8080)).toBe(answered)
})

test('a copy on nosuid runs, and is warned of; nodev takes nothing that it has', async () => {
  await mount('nosuid,nodev')
  const warned = await push('copy')
  expect(warned.status).toBe(0)
  expect(warned.stderr).toContain('set-user-ID programs and file capabilities are without effect, for the root filesystem is a copy on /var/lib/varve, which is mounted nosuid (there: mount -o remount,suid /var/lib/varve) [W_STORE]') // prettier-ignore
  await mount('suid,nodev')
  expect(await push('copy')).toMatchObject({ status: 0, stderr: expect.not.stringContaining('W_STORE') })
  expect(await answer(host, 8080)).toBe(`${round}\n`)
})

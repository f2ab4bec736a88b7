// Restarts that are cut short: by the death of the client, or of the runtime on the host, at any point between stop and start.
import { mkdirSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import type { ContainerStatus, Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { answer, serving, until } from '../fixture/server.ts'
import { startVarve, varve, varveData } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

let host: Host
let work: Work
let round = 0
const C = '/var/lib/varve/c/web'
const sh = async (command: string): Promise<string> => (await host.exec(command)).stdout.toString()
const status = async (): Promise<ContainerStatus> =>
  (await varveData<Status>(['status', `${host.alias}:web`, ...work.common])).containers[0] ?? expect.fail()
const push = (...more: string[]): string[] =>
  work.push('web', ...serving(8080), '--restart', '--health-tcp', '8080', '--retries', '0', ...more)
const change = (): void => writeFileSync(join(work.rootfs, 'srv/index.html'), `${++round}\n`)
/** Kills the runtime, and what it called, once something is so on the host. */
const killedOnce = (so: string): Promise<unknown> =>
  host.exec(`until ${so}; do :; done; kill -KILL $(pgrep -f 'runtime_i[d]=')`)

beforeAll(async () => {
  host = await startHost({ become: 'root' })
  work = workFor(host)
  mkdirSync(join(work.rootfs, 'srv'))
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})
beforeEach(async () => {
  change()
  await varveData(push())
  await until(async () => (await answer(host, 8080)) === `${round}\n`)
})

test.each([
  ['before the old one is stopped', `[ -e ${C}/switching ]`, 'start'],
  ['when the old one is dead', `[ -e ${C}/switching ] && ! [ -e /proc/$(cat /tmp/old) ]`, 'start'],
  ['when the old one is dead', `[ -e ${C}/switching ] && ! [ -e /proc/$(cat /tmp/old) ]`, 'push'],
  ['when the new one is started', `! grep -q "^pid $(cat /tmp/old) " ${C}/started`, 'push'],
])('a runtime that is killed %s (%s): the next %s converges', async (_, so, next) => {
  await sh(`sed -n 's/^pid \\([0-9]*\\) .*/\\1/p' ${C}/started >/tmp/old`)
  const before = round
  change()
  const [ran] = await Promise.all([varve(push()), killedOnce(so)])
  expect(ran.status).toBe(5)
  const { current, drift } = await status()
  expect(drift).toContainEqual({ kind: 'restart', message: 'a restart was cut short' })
  // nothing that it stands on, or could go back to, is freed
  await varveData(['gc', host.alias, '--keep', '1', ...work.common])
  if (next === 'push') expect(await varveData<Report>(push())).toMatchObject({ generation: current })
  else {
    const started = await varve(['start', `${host.alias}:web`, '--health-tcp', '8080', ...work.common])
    // the old one may run still: then it is said, and a restart is what it takes
    if (started.status !== 0) {
      expect(started.stderr).toContain('E_RUNNING')
      expect(await answer(host, 8080)).toBe(`${before}\n`)
      await varveData(['restart', `${host.alias}:web`, '--health-tcp', '8080', ...work.common])
    }
  }
  expect(await answer(host, 8080)).toBe(`${round}\n`)
  expect(await status()).toMatchObject({ current, running: [current], drift: [] })
})

test('a client that is killed leaves the host to finish', async () => {
  change()
  const client = startVarve(push())
  const ended = once(client, 'exit')
  await host.exec(`until [ -e ${C}/switching ]; do :; done`)
  client.kill('SIGKILL')
  await ended
  await until(async () => (await answer(host, 8080)) === `${round}\n`)
  await until(async () => (await sh(`ls ${C}/switching 2>/dev/null`)) === '')
  const { current } = await status()
  expect(await status()).toMatchObject({ running: [current], drift: [] })
})

test('two restarts at once come one after the other', async () => {
  change()
  const both = await Promise.all([varve(push()), varve(push())])
  expect(both.filter(({ status: code }) => code === 0).length).toBeGreaterThan(0)
  expect(await answer(host, 8080)).toBe(`${round}\n`)
  const { current } = await status()
  expect(await status()).toMatchObject({ running: [current], drift: [] })
})

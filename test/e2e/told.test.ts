// What an operator is told: of an engine that is not the one that runs, and of a restart that somebody else is about.
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Started } from '../../src/verbs/run.ts'
import type { ContainerStatus, Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { startVarve, varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

type Place = { readonly host: Host; readonly work: Work }
let places: Record<'flock' | 'none', Place>

async function place(strip: readonly string[]): Promise<Place> {
  const host = await startHost({ strip })
  const work = workFor(host)
  await varveData(work.push('web', '--cmd', 'sleep', '--cmd', '300', '--restart', '--stop-timeout', '0'))
  return { host, work }
}
const statusIn = async ({ host, work }: Place): Promise<ContainerStatus> =>
  (await varveData<Status>(['status', `${host.alias}:web`, ...work.common])).containers[0] ?? expect.fail()
const sh = async ({ host }: Place, command: string): Promise<unknown> => host.exec(command)

beforeAll(async () => {
  places = { flock: await place([]), none: await place(['flock']) }
})
afterAll(async () => {
  for (const { host, work } of Object.values(places)) {
    await host.stop()
    work[Symbol.dispose]()
  }
})

test('start on another engine than the one that runs it is refused', async () => {
  const { host, work } = places.flock
  const { service } = await statusIn(places.flock)
  expect(await varveError(['start', `${host.alias}:web`, '--engine', 'crun', ...work.common])).toMatchObject({
    code: 'E_RUNNING',
    message: 'cannot start web on crun: it runs on runc',
  })
  expect((await statusIn(places.flock)).service).toEqual(service)
  const same = await varveData<Started>(['start', `${host.alias}:web`, '--engine', 'runc', ...work.common])
  expect(same).toMatchObject({ engine: 'runc', downSeconds: null })
})

test('a container that is not there is told with where to look', async () => {
  const { host, work } = places.flock
  for (const verb of ['start', 'stop', 'logs', 'rollback'])
    expect(await varveError([verb, `${host.alias}:no`, ...work.common])).toMatchObject({
      code: 'E_NO_CONTAINER',
      hint: 'varve status HOST lists the containers',
    })
})

test('nothing, where a log is followed until it is interrupted', async () => {
  const { host, work } = places.flock
  const following = startVarve(['logs', `${host.alias}:web`, '-f', ...work.common])
  let said = ''
  for (const stream of [following.stdout, following.stderr])
    stream?.on('data', (data: Buffer) => (said += data.toString()))
  const ended = once(following, 'exit')
  await sh(places.flock, "until pgrep -f 'tail -n 100 -[F]'; do :; done")
  following.kill('SIGINT')
  expect(await ended).toEqual([130, null])
  expect(said).toBe('')
})

test.each(['flock', 'none'] as const)(
  'a restart that somebody is about is told as such, and as cut short when nobody is any more (locks by %s)',
  async (by) => {
    const at = places[by]
    const { host, work } = at
    const locked =
      by === 'flock'
        ? 'exec 8>>/run/varve/web.lock; flock 8'
        : `lock=/run/varve/lock.$(printf %s /var/lib/varve/c/web | sha256sum | cut -c1-16); mkdir $lock
         echo $$ $(cut -d' ' -f22 /proc/$$/stat) mark >$lock/owner`
    await sh(at, 'echo "1 runc 1" >/var/lib/varve/c/web/switching')
    const holder = host.exec(`${locked}; echo $$ >/run/holder; exec sleep 300`)
    await sh(at, 'until [ -s /run/holder ]; do :; done')
    const shown = await varve(['status', host.alias, ...work.common])
    expect(shown.stdout).toMatch(/^web .* is being restarted, runs 1 on runc since .*$/m)
    expect(await statusIn(at)).toMatchObject({ service: { restarting: true }, drift: [] })
    await sh(at, 'kill $(cat /run/holder)')
    await holder
    expect(await statusIn(at)).toMatchObject({
      service: { restarting: false, switching: true },
      drift: [{ kind: 'restart', message: 'a restart was cut short' }],
    })
  },
)

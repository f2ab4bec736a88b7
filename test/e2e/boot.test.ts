// After a reboot what was marked for it runs again, by a unit of systemd or by a line for who has none, and never on an empty mount point.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Started } from '../../src/verbs/run.ts'
import type { Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { answer, serving, until } from '../fixture/server.ts'
import { bootSystemd, type Systemd } from '../fixture/systemd.ts'
import { varveData } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'
import type { Report } from '../../src/verbs/report.ts'

let host: Host
let work: Work
const sh = async (command: string): Promise<string> => (await host.exec(command)).stdout.toString()
const status = async (): Promise<Status> => varveData<Status>(['status', host.alias, ...work.common])
const start = (options: Parameters<typeof startHost>[0]): void => {
  beforeAll(async () => {
    host = await startHost(options)
    work = workFor(host)
    mkdirSync(join(work.rootfs, 'srv'))
    writeFileSync(join(work.rootfs, 'srv/index.html'), 'hello\n')
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })
}

describe('without systemd', () => {
  start({})

  test('--boot says the line that a boot must run, which mounts all and starts what is marked', async () => {
    const { started } = await varveData<Report>(work.push('web', ...serving(8080), '--restart', '--boot'))
    expect(started?.boot).toEqual({ line: 'sh /var/lib/varve/boot.sh start' })
    await varveData(work.push('other', '--cmd', 'sleep', '--cmd', '300', '--restart', '--stop-timeout', '0'))
    // what a reboot does: all processes end, nothing is mounted, /run is empty
    await sh('for name in web other; do runc --root /run/varve/runc delete -f $name; done; umount /var/lib/varve/c/*/bundle/*/rootfs; rm -rf /run/varve') // prettier-ignore
    expect((await status()).containers.map(({ drift }) => drift.map(({ kind }) => kind))).toEqual([['mount', 'stopped'], ['mount', 'stopped']]) // prettier-ignore
    const refused = await host.exec('cd /var/lib/machines/web && runc run web </dev/null 2>&1')
    expect(refused.status).not.toBe(0)
    expect(refused.stdout.toString()).toContain('executable file not found')

    expect(await sh('sh /var/lib/varve/boot.sh start; echo $?')).toBe('0\n')
    await until(async () => (await answer(host, 8080)) === 'hello\n')
    const { containers } = await status()
    expect(containers.map(({ name, running, drift }) => ({ name, running, drift: drift.map(({ kind }) => kind) }))).toEqual([
      { name: 'other', running: [], drift: ['stopped'] },
      { name: 'web', running: [1], drift: [] },
    ]) // prettier-ignore
    expect(await sh('sh /var/lib/varve/boot.sh stop; echo $?')).toBe('0\n')
    expect(await answer(host, 8080)).toBeUndefined()
    expect((await status()).containers.find(({ name }) => name === 'web')?.service).toMatchObject({ wanted: true, boot: true }) // prettier-ignore
  })

  test('a boot says which container it could not start, and starts the others', async () => {
    await varveData(work.push('bad', '--cmd', 'sleep', '--cmd', '300', '--restart', '--boot', '--stop-timeout', '0'))
    await varveData(['stop', `${host.alias}:bad`, ...work.common])
    await sh('sed -i s/sleep/nonsense/ /var/lib/varve/c/bad/bundle/1/config.json')
    const said = await sh('sh /var/lib/varve/boot.sh start; echo $?')
    expect(said).toMatch(/^bad: runc refuses it: .*nonsense.*\n1\n$/)
    await until(async () => (await answer(host, 8080)) === 'hello\n')
  })

  test('--no-boot takes the mark away', async () => {
    expect(await varveData<Started>(['start', `${host.alias}:web`, '--no-boot', ...work.common])).toMatchObject({ boot: null }) // prettier-ignore
    await varveData(['stop', `${host.alias}:web`, ...work.common])
    await sh('sh /var/lib/varve/boot.sh start')
    expect(await answer(host, 8080)).toBeUndefined()
  })
})

describe('with systemd', () => {
  start({ userland: 'engines', cgroup: 2, become: 'root' })
  let systemd: Systemd

  test('a unit starts what is marked when the host boots, and stops it with the host', async () => {
    systemd = await bootSystemd(host)
    const { started } = await varveData<Report>(work.push('web', ...serving(8080), '--restart', '--boot', '--health-tcp', '8080')) // prettier-ignore
    expect(started?.boot).toEqual({ unit: 'varve.service' })
    expect(await answer(host, 8080)).toBe('hello\n')
    expect(await systemd.run('systemctl list-units --no-legend --type=scope | grep -c run-')).toBe('1\n')
    await systemd.cut()
    expect(await answer(host, 8080)).toBeUndefined()

    systemd = await bootSystemd(host)
    await until(async () => (await answer(host, 8080)) === 'hello\n')
    expect(await systemd.run('systemctl is-active varve.service')).toBe('active\n')
    const [web] = (await status()).containers
    expect(web).toMatchObject({ name: 'web', running: [1], drift: [] })
    await systemd.run('systemctl stop varve.service')
    expect(await answer(host, 8080)).toBeUndefined()
    await systemd.cut()
  })
})

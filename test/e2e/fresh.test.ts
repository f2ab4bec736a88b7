// A sender that has not the old bytes: it costs no more than rsync, whatever the host has, and the tree is what it must be.
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { linkTo } from '../fixture/link.ts'
import { change, fill } from '../fixture/redeploy.ts'
import { giveRsync, rsync } from '../fixture/rsync.ts'
import { varve } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

type Pushed = { readonly report: Report; readonly stderr: string }

let host: Host
let work: Work
let loss: readonly string[] = []
/** From a machine that has never pushed before; `through` is the ssh_config of another way to the host. */
async function pushFresh(through = host.sshConfig): Promise<Pushed> {
  rmSync(work.state, { recursive: true, force: true })
  return push('max', through)
}
async function push(effort: 'fast' | 'max', through = host.sshConfig): Promise<Pushed> {
  const words = ['-F', through, '--state-dir', work.state, '--json', '--effort', effort, ...loss]
  const ran = await varve(['push', `rootfs:${work.rootfs}`, `${host.alias}:app`, ...words])
  expect(ran.status, ran.stdout + ran.stderr).toBe(0)
  return { report: (JSON.parse(ran.stdout) as { data: Report }).data, stderr: ran.stderr }
}
async function begin(options: Parameters<typeof startHost>[0]): Promise<void> {
  host = await startHost({ become: 'root', ...options })
  work = workFor(host)
  loss = options?.userland === 'busybox' ? ['--allow-loss', 'xattrs,mtimes'] : []
  fill(work.rootfs)
}
async function end(): Promise<void> {
  await host.stop()
  work[Symbol.dispose]()
}
const wire = ({ bytes }: Report): number => bytes.sent + bytes.received
const left = async (): Promise<string> => (await host.exec('cd /var/lib/varve && ls -A stage in tx')).stdout.toString()

describe.each([
  ['all tools', {}],
  ['zstd alone', { strip: ['perl', 'python3'] }],
  ['BusyBox', { userland: 'busybox' }],
] as const)('push() to a host with %s costs no more than rsync', (_, options) => {
  beforeAll(async () => {
    await begin(options)
    await push('fast')
    await giveRsync(host)
    for (const to of ['/srv/old', '/srv/checked']) await rsync(host, work.rootfs, to, '--zl=1')
    change(work.rootfs, 1)
  })
  afterAll(end)

  test('from an empty state directory, and with the old bytes at hand still less', async () => {
    const state = `${work.state}.kept`
    cpSync(work.state, state, { recursive: true })
    const theirs = Math.min(
      await rsync(host, work.rootfs, '/srv/old'),
      await rsync(host, work.rootfs, '/srv/checked', '--checksum'),
    )
    await using link = await linkTo(host, {})
    const { report, stderr } = await pushFresh(link.sshConfig)
    const ours = link.proxy.sent + link.proxy.received
    expect(stderr).toBe('')
    expect(ours).toBeLessThanOrEqual(theirs)
    await expectPushed()
    expect(await left()).toBe('in:\n\nstage:\n\ntx:\n')
    rmSync(work.state, { recursive: true })
    cpSync(state, work.state, { recursive: true })
    rmSync(state, { recursive: true })
    change(work.rootfs, 2)
    expect(wire((await push('max')).report)).toBeLessThan(wire(report))
    await expectPushed()
  })

  async function expectPushed(): Promise<void> {
    if (options !== undefined && 'userland' in options) {
      const real = (await host.exec('readlink -f /var/lib/machines/app')).stdout.toString().trim()
      for (const name of ['program', 'zlink', 'text', 'text-too'])
        expect(readFileSync(host.path(`${real}/rootfs/opt/${name}`)).equals(readFileSync(join(work.rootfs, 'opt', name))), name).toBe(true) // prettier-ignore
    } else await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
  }
})

describe('push() from an empty state directory heals in itself', () => {
  beforeAll(async () => {
    await begin({})
    await push('fast')
  })
  afterAll(end)
  let round = 0
  const opt = 'cd /var/lib/varve/tree/*/root/opt'
  const healed = async (): Promise<string> => {
    change(work.rootfs, ++round)
    const { stderr } = await pushFresh()
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
    await host.exec('cd /var/lib/varve/tree && for tree in *; do case $tree in *.*) rm -r $tree ;; esac; done')
    // one tree is left, so that the next test knows which it damages
    expect((await varve(['gc', host.alias, '--keep', '1', ...work.common])).status).toBe(0)
    return stderr
  }

  test('an old file that is not what it was', async () => {
    await host.exec(`${opt} && dd if=/dev/zero of=program bs=1 seek=3000000 count=700 conv=notrunc && tr 12 34 <text >t && cat t >text`)
    expect(await healed()).toContain('W_HEAL')
  })

  test('an old file that was cut, or is gone, which is not copied from', async () => {
    await host.exec(`${opt} && truncate -s 3000000 program`)
    expect(await healed()).toBe('')
    await host.exec(`${opt} && rm program zlink`)
    expect(await healed()).toBe('')
  })

  // 420 bytes are some of them, of any width
  test('signatures of other blocks than those that were asked for', async () => {
    const lie = 'case $2 in *40503*) /usr/bin/perl.real "$@" >/run/signatures; tail -c +421 /run/signatures; head -c 420 /run/signatures ;; *) exec /usr/bin/perl.real "$@" ;; esac'
    await host.exec(`mv /usr/bin/perl /usr/bin/perl.real; cat >/usr/bin/perl; chmod 755 /usr/bin/perl`, Buffer.from(`#!/bin/sh\n${lie}\n`))
    expect(await healed()).toContain('sending whole files')
  })

  test('signatures that are too few, or refused, for more bytes', async () => {
    await host.exec(`cat >/usr/bin/perl`, Buffer.from('#!/bin/sh\ncase $2 in *40503*) head -c 1000 /dev/urandom ;; *) exec /usr/bin/perl.real "$@" ;; esac\n'))
    expect(await healed()).toBe('')
    await host.exec(`cat >/usr/bin/perl`, Buffer.from('#!/bin/sh\ncase $2 in *40503*) exit 1 ;; *) exec /usr/bin/perl.real "$@" ;; esac\n'))
    expect(await healed()).toContain('W_SIGNATURES')
  })
}) // prettier-ignore

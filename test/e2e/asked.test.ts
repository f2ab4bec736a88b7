// What a config.json asks for holds on every engine, whether it takes the file or options made from it; else it is refused.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import type { Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { until } from '../fixture/server.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const SCRIPT = `
busybox sed -n 's/ rw,/ /; s/,relatime//; s/,inode64//; s/^[^ ]* \\(\\/mem \\)/\\1/p' /proc/mounts
busybox stat -c 'owner %u:%g %a' /mem
busybox chmod 700 /mem || echo chmod refused
echo umask $(umask), files $(ulimit -n), filter $(busybox sed -n 's/^Seccomp:.//p' /proc/self/status)
echo done
exec sleep 300`
/** As `uid`, with a tmpfs that is `owner`'s, and a filter that lets nobody change a mode. */
const asking = (uid: number, owner: number, ...more: string[]): object => ({
  ociVersion: '1.0.2',
  process: {
    args: ['sh', '-c', SCRIPT],
    cwd: '/',
    env: ['PATH=/bin'],
    user: { uid, gid: uid, umask: 63 },
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }],
  },
  root: { path: 'rootfs' },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    {
      destination: '/mem',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'nodev', 'noexec', 'size=1024k', 'mode=0750', `uid=${owner}`, `gid=${owner}`, ...more],
    },
  ],
  linux: {
    namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }],
    seccomp: {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['chmod', 'fchmod', 'fchmodat'], action: 'SCMP_ACT_ERRNO' }],
    },
  },
})

describe.each([
  { cgroup: 1, engines: ['runc', 'crun', 'podman'] },
  { cgroup: 2, engines: ['nspawn'] },
] as const)('with cgroups of version $cgroup', ({ cgroup, engines }) => {
  let host: Host
  let work: Work
  const push = (name: string, config: object, ...more: string[]): string[] => {
    const file = join(work.state, '../asked.json')
    writeFileSync(file, JSON.stringify(config))
    return work.push(name, '--config', file, '--restart', '--stop-timeout', '0', ...more)
  }
  const said = async (name: string): Promise<string> => {
    const logs = ['logs', `${host.alias}:${name}`, ...work.common]
    await until(
      async () => (await host.exec(`tail -n 1 /var/lib/varve/c/${name}/log/1`)).stdout.toString() === 'done\n',
    )
    return (await varve(logs)).stdout
  }
  const runs = async (name: string): Promise<unknown> =>
    (await varveData<Status>(['status', `${host.alias}:${name}`, ...work.common])).containers[0]?.service.runs

  beforeAll(async () => {
    host = await startHost({ userland: 'engines', become: 'root', cgroup })
    work = workFor(host)
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test.each(engines)('memory, its owner, a filter, limits and the umask hold on %s', async (engine) => {
    await varveData<Report>(push(engine, asking(499, 499), '--engine', engine))
    const lines = (await said(engine)).split('\n').filter((line) => !/^chmod: .*not permitted$/.test(line))
    expect(lines).toEqual([
      '/mem tmpfs nosuid,nodev,noexec,size=1024k,mode=750,uid=499,gid=499 0 0',
      'owner 499:499 750',
      'chmod refused',
      // its parser knows no umask, of which a push warns
      `umask ${engine === 'nspawn' ? '0022' : '0077'}, files 100, filter 2`,
      'done',
      '',
    ])
    await varveData(['stop', `${host.alias}:${engine}`, ...work.common])
  })

  if (cgroup === 1)
    test('podman has no option for a tmpfs of somebody else: that is said before anything is stopped', async () => {
      await varveData<Report>(push('else', asking(0, 0), '--engine', 'podman'))
      const before = await runs('else')
      expect(await varveError(push('else', asking(0, 7), '--engine', 'podman'))).toMatchObject({
        code: 'E_CONFIG',
        message: 'cannot start else with podman: no option of podman gives the tmpfs at /mem to 7:7',
      })
      expect(await runs('else')).toEqual(before)
    })
  else {
    const start = (name: string): string[] => ['start', `${host.alias}:${name}`, '--engine', 'nspawn', '--stop-timeout', '0', ...work.common] // prettier-ignore
    const plain = (): object => {
      const { linux, process, ...rest } = asking(0, 0) as { linux: object; process: { user: object } }
      return { ...rest, process: { ...process, user: { uid: 0, gid: 0 } }, linux: { ...linux, seccomp: undefined } }
    }

    test('systemd-nspawn runs what was made for another engine, by options', async () => {
      await varveData<Report>(push('options', plain(), '--engine', 'runc'))
      await varveData(['stop', `${host.alias}:options`, ...work.common])
      await varveData(start('options'))
      const text = await said('options')
      expect(text).toContain('/mem tmpfs nosuid,nodev,noexec,size=1024k,mode=750 0 0\nowner 0:0 750\n')
      expect(text).toContain('files 100,')
    })

    test('what ends before anybody saw it has ended, and what systemd-nspawn refuses is told in its words', async () => {
      await varveData<Report>(push('short', asking(0, 0), '--engine', 'nspawn'))
      const restart = ['restart', `${host.alias}:short`, ...work.common]
      const ends = ['--cmd', 'sh', '--cmd=-c', '--cmd', 'echo last words; exit 1', '--engine', 'nspawn', '--stop-timeout', '0'] // prettier-ignore
      // a host that is slow to look
      await host.exec('printf "#!/bin/sh\\nsleep 0.5\\nexec /usr/bin/grep \\"\\$@\\"\\n" >/usr/local/bin/grep; chmod 755 /usr/local/bin/grep')
      const ended = await varve(work.push('short', ...ends, '--restart'))
      await host.exec('rm /usr/local/bin/grep')
      expect(ended.status).toBe(7)
      expect(ended.stderr).toContain('==> log of generation 2\nlast words\n')
      expect(ended.stderr).toContain('cannot run generation 2 of short: it ended; generation 1 runs again [E_HEALTH]')
      await host.exec(`sed -i 's/"linux": {/"linux": {"bogus": 1,/' /var/lib/varve/c/short/bundle/1/config.json`)
      expect(await varveError(restart)).toMatchObject({
        code: 'E_START',
        status: 4,
        message: expect.stringMatching(/^cannot run generation 1 of short: nspawn refuses it: .*config\.json:\d+:\d+: Unexpected OCI element 'bogus'.*; nothing runs$/),
      })
    }) // prettier-ignore

    test.each([
      ['a filter of system calls', asking(0, 0)],
      ['a user that is not root', asking(7, 0)],
      ['a tmpfs at /mem that is filled from the image', asking(0, 0, 'tmpcopyup')],
    ])('and says so where it has no option for %s', async (what, config) => {
      const { linux, ...rest } = config as { linux: object }
      const one = what.startsWith('a filter') ? config : { ...rest, linux: { ...linux, seccomp: undefined } }
      await varveData<Report>(push('never', one, '--engine', 'runc'))
      const before = await runs('never')
      const restart = start('never').map((word) => (word === 'start' ? 'restart' : word))
      expect(await varveError(restart)).toMatchObject({
        code: 'E_CONFIG',
        message: `cannot start never with systemd-nspawn: its config.json is made for another engine, and has ${what} (varve push --engine nspawn makes one)`,
      })
      expect(await runs('never')).toEqual(before)
    })
  }
})

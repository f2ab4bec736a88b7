// Each engine runs what was pushed: started, restarted, judged, gone back from and stopped, and what it says and leaves.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Applied } from '../../src/verbs/apply.ts'
import type { Report } from '../../src/verbs/report.ts'
import type { RolledBack } from '../../src/verbs/rollback.ts'
import type { Started, Stopped } from '../../src/verbs/run.ts'
import type { ContainerStatus, Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { answer, serving, until } from '../fixture/server.ts'
import { varve, varveData, varveError, type Ran } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const variants = [
  { engine: 'runc', become: 'sudo', userland: 'debian' },
  { engine: 'crun', become: 'root', userland: 'debian', strip: ['flock', 'runc'] },
  { engine: 'podman', become: 'sudo', userland: 'engines', cgroup: 1 },
  { engine: 'nspawn', become: 'root', userland: 'engines', cgroup: 2 },
] as const

describe.each(variants)('$engine as $become', ({ engine, ...options }) => {
  let host: Host
  let work: Work
  const target = (): string => `${host.alias}:web`
  const write = (text: string): void => writeFileSync(join(work.rootfs, 'srv/index.html'), text)
  const own = ['podman', 'nspawn'].includes(engine) ? ['--engine', engine] : []
  const push = (...more: string[]): string[] => work.push('web', ...serving(8080), ...own, ...more)
  const well = ['--restart', '--health-tcp', '8080', '--health-timeout', '3']
  const run = <Data>(...words: string[]): Promise<Data> => varveData<Data>([...words, ...work.common])
  const told = ([verb = '', ...words]: string[], input?: Buffer): Promise<Ran> =>
    varve([verb, ...work.common, ...words], input === undefined ? {} : { input })
  const status = async (): Promise<ContainerStatus> =>
    (await run<Status>('status', target())).containers[0] ?? expect.fail()
  const sh = async (command: string): Promise<string> => (await host.exec(command)).stdout.toString()
  const first = async (): Promise<string> => String((await status()).service.runs?.pid)
  /** systemd-nspawn has no way to run a command in what it runs. */
  const inside = async (script: string): Promise<unknown> =>
    engine === 'nspawn'
      ? sh(`nsenter --target ${await first()} --mount --root --wd sh -c '${script}'`)
      : told(['exec', target(), '--', 'sh', '-c', script])

  beforeAll(async () => {
    host = await startHost(options)
    work = workFor(host)
    mkdirSync(join(work.rootfs, 'srv'))
    write('one\n')
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test('a push says how to run it, and start runs it', async () => {
    expect((await varve(push())).stdout).toContain(`to run it: varve start ${target()}, or there: `)
    expect(await answer(host, 8080)).toBeUndefined()
    const started = await run<Started>('start', target(), '--health-tcp', '8080')
    expect(started).toMatchObject({ generation: 1, engine, previous: 0, wrote: null, boot: null })
    console.log(`${engine}: well ${started.downSeconds} s after start`)
    expect(await answer(host, 8080)).toBe('one\n')
    expect(await run<Started>('start', target())).toMatchObject({ generation: 1, since: started.since, downSeconds: null }) // prettier-ignore
  })

  test('what runs has descriptors 0 to 2 only, no lock, no signal ignored, and a log of its own', async () => {
    const pid = await first()
    expect(await sh(`ls /proc/${pid}/fd | sort -n | tr '\\n' ' '; umask 022; grep -o 'SigIgn.*' /proc/${pid}/status`)).toMatch(/^0 1 2 (10 )?SigIgn:\t000000000000000[04]\n$/) // prettier-ignore
    expect(await sh(`readlink /proc/${pid}/fd/0; grep -c VARVE_LOCK /proc/*/environ | grep -v ':0$'`)).toBe(
      '/dev/null\n',
    )
    expect((await told(['logs', target()])).stdout).toMatch(/^hello from 1\nand trouble\n$/)
    expect(await sh('stat -c "%a %u" /var/lib/varve/c/web/log/1')).toBe('600 0\n')
  })

  if (engine === 'nspawn')
    test('exec is refused where the engine has no way', async () => {
      const refused = await varveError(['exec', target(), ...work.common, '--', 'true'])
      expect(refused).toMatchObject({ code: 'E_NO_ENGINE', status: 4 })
      for (const words of [push('--restart'), ['restart', target(), ...own, ...work.common]])
        expect(await varveError([...words, '--health-cmd', 'true'])).toMatchObject({ code: 'E_NO_ENGINE', status: 4 })
    })
  else
    test('exec runs a command in it, with its streams and its exit status', async () => {
      const odd = `it's "$HOME" \\ é\n  x`
      const ran = await told(['exec', target(), '--', 'sh', '-c', 'printf %s "$1" >&2; id -u; cat; exit 7', 'sh', odd])
      expect(ran).toEqual({ status: 7, stdout: '0\n', stderr: odd })
      const input = Buffer.from(`\0é${'x'.repeat(100_000)}`)
      expect(await told(['exec', target(), '--stdin', '--', 'cat'], input)).toEqual({ status: 0, stdout: input.toString(), stderr: '' }) // prettier-ignore
    })

  test('a push leaves what runs as it is and says so; --restart switches, and tells what was written', async () => {
    write('two!\n')
    expect((await varve(push())).stdout).toContain(`generation 1 runs on; to run this one: varve restart ${target()}\n`)
    expect(await answer(host, 8080)).toBe('one\n')
    await inside('echo data >/srv/own; echo "a b" >"/odd name"; busybox mkdir /new; busybox rm /etc/group') // prettier-ignore
    const { generation, previous, started } = await varveData<Report>(push(...well))
    expect({ generation, previous }).toEqual({ generation: 2, previous: 2 })
    expect(started).toMatchObject({ generation: 2, previous: 1 })
    expect(started?.wrote).toEqual({ files: 2, bytes: 9, removed: 1, names: ['odd name', 'srv/own'] })
    console.log(`${engine}: down for ${started?.downSeconds} s at a restart`)
    expect(await answer(host, 8080)).toBe('two!\n')
    expect(await sh('cat /var/lib/varve/c/web/up/1/u/srv/own')).toBe('data\n')
    expect((await status()).drift).toEqual([])
  })

  test('a push of what runs restarts nothing', async () => {
    const before = (await status()).service.runs
    expect((await varveData<Report>(push(...well))).started).toMatchObject({ generation: 2, downSeconds: null })
    expect((await status()).service.runs).toEqual(before)
  })

  const ill: [string, () => string[], string[], string][] = [
    ['listens elsewhere', () => serving(8081), ['--health-tcp', '8080'], 'nothing of it listens on port 8080 after 2 s'], // prettier-ignore
    ['does not succeed', () => serving(8080), ['--health-cmd', 'cat /no/such'], 'its health command did not succeed within 2 s'], // prettier-ignore
    ['ends', () => ['--cmd', 'sh', '--cmd=-c', '--cmd', 'echo last words; exit 1'], [], 'it ended'],
    ['cannot be started', () => ['--cmd', 'nonsense'], [], engine === 'nspawn' ? 'it ended' : `${engine} refuses it: `], // prettier-ignore
  ]
  const known = ill.filter(([, , health]) => engine !== 'nspawn' || !health.includes('--health-cmd'))
  test.each(known)('what %s is given up, and what ran runs again with what it wrote', async (_, cmd, health, why) => {
    write(`worse ${why}\n`)
    const { service, current } = await status()
    const mark = `mark ${performance.now()}`
    await inside(`echo ${mark} >/srv/mark`)
    const ran = await varve(work.push('web', ...cmd(), ...own, '--restart', '--health-timeout', '2', ...health))
    expect(ran.status).toBe(7)
    const next = Number(/cannot run generation (\d+) of web/.exec(ran.stderr)?.[1])
    expect(ran.stderr).toContain(`==> log of generation ${next}\n`)
    expect(ran.stderr).toContain(`==> log of generation ${current}\nhello from 1\n`)
    expect(ran.stderr).toContain(`cannot run generation ${next} of web: ${why}`)
    expect(ran.stderr).toContain(`; generation ${current} runs again [E_HEALTH]\n`)
    expect(await answer(host, 8080)).toBe('two!\n')
    expect(await answer(host, 8080, 'mark')).toBe(`${mark}\n`)
    const now = await status()
    expect(now).toMatchObject({ current, running: [current], drift: [] })
    expect(now.service.runs?.pid).not.toBe(service.runs?.pid)
  })

  test('a port that something else has is told before anything is stopped or sent', async () => {
    const before = await status()
    write('never\n')
    expect(await varveError(push('--restart', '--health-tcp', '22'))).toMatchObject({
      code: 'E_PORT',
      status: 4,
      message: expect.stringMatching(/^cannot start web: port 22 is taken by sshd \(process \d+\)$/),
    })
    expect((await status()).service).toEqual(before.service)
    expect((await status()).current).toBe(before.current)
  })

  test('rollback --restart runs the generation before', async () => {
    write('three\n')
    await varveData(push(...well))
    expect(await answer(host, 8080)).toBe('three\n')
    const done = await run<RolledBack>('rollback', target(), ...well)
    expect(done.started).toMatchObject({ generation: done.generation })
    console.log(`${engine}: down for ${done.started?.downSeconds} s at a rollback`)
    expect(await answer(host, 8080)).toBe('two!\n')
  })

  test('apply --restart runs what a file brings, and goes back where that is not well', async () => {
    const file = join(work.state, `../${engine}.varve`)
    const apply = ['apply', file, target(), ...well, ...work.common]
    const pack = (...more: string[]): Promise<unknown> => run('pack', `rootfs:${work.rootfs}`, '-o', file, '--for', target(), ...more) // prettier-ignore
    write('four\n')
    await pack()
    const { generation, runs, started } = await varveData<Applied>(apply)
    expect([runs, started?.generation]).toEqual([generation, generation])
    expect(await answer(host, 8080)).toBe('four\n')
    expect((await varveData<Applied>(apply)).started).toMatchObject({ generation, downSeconds: null })
    rmSync(file)
    await pack(...serving(8081))
    expect(await varveError(apply)).toMatchObject({ code: 'E_HEALTH', status: 7, message: expect.stringContaining(`generation ${generation} runs again`) }) // prettier-ignore
    expect(await answer(host, 8080)).toBe('four\n')
    expect(await varveError([...apply, '--health-tcp', '22'])).toMatchObject({ code: 'E_PORT', status: 4 })
    expect((await status()).current).toBe(generation)
  })

  test('a restart that was cut short is finished by the next push', async () => {
    const { current } = await status()
    await sh(`echo "${current} ${engine} ${current}" >/var/lib/varve/c/web/switching; kill -KILL ${await first()}`)
    await until(async () => (await status()).running.length === 0)
    expect((await status()).drift).toEqual([{ kind: 'restart', message: 'a restart was cut short' }])
    const ran = await varve(push())
    expect(ran.stderr).toContain('a restart was cut short: it is done now')
    expect(ran.status).toBe(0)
    const { running, current: now, drift } = await status()
    expect(running).toEqual([now])
    expect(drift).toEqual([])
  })

  test('what dies should run, and start runs it', async () => {
    await sh(`kill -KILL ${await first()}`)
    await until(async () => (await status()).running.length === 0)
    expect((await status()).drift).toEqual([{ kind: 'stopped', message: 'it should run, and does not' }])
    expect(await varveError(['exec', target(), ...work.common, '--', 'true'])).toMatchObject({ code: 'E_NOT_RUNNING', status: 4 })
    await run('start', target(), '--health-tcp', '8080')
    expect((await status()).drift).toEqual([])
  }) // prettier-ignore

  test('what ignores its stop signal is killed after the stop timeout, and the log goes on', async () => {
    const deaf = ['--cmd', 'sh', '--cmd=-c', '--cmd', 'trap "echo not yet" TERM; while :; do sleep 1; done']
    await varveData(work.push('deaf', ...deaf, '--restart', '--stop-timeout', '2'))
    const { generation } = await run<Stopped>('stop', `${host.alias}:deaf`)
    expect(generation).toBe(1)
    expect((await told(['logs', `${host.alias}:deaf`])).stdout).toBe('not yet\n')
    expect(await run<Stopped>('stop', `${host.alias}:deaf`)).toMatchObject({ generation: null })
    const [deafNow] = (await run<Status>('status', `${host.alias}:deaf`)).containers
    expect(deafNow).toMatchObject({ running: [], drift: [], service: { wanted: false, stopSeconds: 2 } })
  })

  if (engine === 'podman')
    test('a container of podman that varve did not make is refused by name', async () => {
      await sh('podman create --name deaf --rootfs /tmp true')
      expect(await varveError(['start', `${host.alias}:deaf`, ...own, ...work.common])).toMatchObject({
        code: 'E_RUNNING',
        status: 4,
        message: 'cannot start deaf: podman has a container of that name that varve did not make',
      })
      await sh('podman rm -f deaf')
    })

  if (own.length === 0)
    test('an engine that the host has not is refused, and what runs runs on', async () => {
      const before = await status()
      write('never\n')
      for (const words of [
        push(...well, '--engine', 'podman'),
        ['restart', target(), '--engine', 'podman', ...work.common],
      ])
        expect(await varveError(words)).toMatchObject({
          code: 'E_NO_ENGINE',
          status: 4,
          message: `cannot start web: the host has no podman, but ${engine === 'runc' ? 'runc, ' : ''}crun, nspawn`,
          hint: 'install one on the host (apt-get install runc), or name another with --engine',
        })
      expect(await status()).toEqual(before)
    })

  if (own.length === 0)
    test('a name that runs outside varve is refused', async () => {
      await varveData(work.push('other', '--cmd', 'sleep', '--cmd', '300'))
      await sh(
        `cd /var/lib/machines/other && ${engine} create other </dev/null >/dev/null 2>&1 && ${engine} start other`,
      )
      expect(await varveError(['start', `${host.alias}:other`, ...work.common])).toMatchObject({
        code: 'E_RUNNING',
        status: 4,
        message: `cannot start other: ${engine} runs a container of that name that varve did not start`,
      })
      await sh(`${engine} delete -f other`)
      await run('start', `${host.alias}:other`)
      await run('stop', `${host.alias}:other`, '--stop-timeout', '0')
      await run('rm', `${host.alias}:other`)
    })

  test('nothing is left of what was stopped and removed', async () => {
    await run('stop', target())
    expect(await answer(host, 8080)).toBeUndefined()
    for (const name of ['web', 'deaf']) await run('rm', `${host.alias}:${name}`)
    expect(
      await sh(
        `ls /run/varve/${engine} 2>/dev/null; podman ps -aq 2>/dev/null; ps -e -o args= | grep -v 'ps -e' | grep 'log[.]sh'`,
      ),
    ).toBe('')
  })
})

// config.json on real hosts: what engines wrote runs under runc, crun and systemd-nspawn with no hand edit, wishes are kept.
import { mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Planned } from '../../src/verbs/plan.ts'
import type { Report } from '../../src/verbs/report.ts'
import { FIXTURES } from '../bundle/around.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

let host: Host
let work: Work
/** Stands for the program that the fixtures run: it makes its file where there is none, and serves it. */
const FOSSIL = `#!/bin/sh
if [ "$1" = init ]; then
  id -u >"$4"
  exit
fi
exec /bin/busybox httpd -f -p 8080 -h "\${4%/*}"
`
const fixture = (name: string): string => join(import.meta.dirname, `../bundle/fixtures/${name}.json`)
const sh = async (script: string): Promise<string> => {
  const { status, stdout, stderr } = await host.exec(script)
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stdout.toString()}${stderr}`)
  return stdout.toString()
}
type Config = { process: { args: string[]; env: string[]; cwd: string; user: object; rlimits?: object[] }; mounts: { destination: string; source: string }[]; linux: { namespaces: object[]; sysctl?: object }; annotations?: Record<string, string> } // prettier-ignore
const configOf = (name: string): Config => {
  const container = host.path(`/var/lib/varve/c/${name}`)
  const bundle = readlinkSync(join(container, 'current')).replace('gen', 'bundle')
  return JSON.parse(readFileSync(join(container, bundle, 'config.json'), 'utf8')) as Config
}
const written = (name: string, value: unknown): string => {
  const file = join(work.state, '..', name)
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value))
  return file
}
const push = (...words: string[]): Promise<Report> => varveData<Report>(work.push(words[0] ?? '', ...words.slice(1)))
const plan = (...words: string[]): Promise<Planned> => varveData<Planned>(['plan', ...work.push(words[0] ?? '', ...words.slice(1)).slice(1)]) // prettier-ignore
/** Runs the container to its end; what it wrote. */
const run = (name: string, engine = 'runc'): Promise<string> => sh(`cd /var/lib/machines/${name} && ${engine} run ${name} </dev/null 2>&1`) // prettier-ignore

beforeAll(async () => {
  host = await startHost()
  work = workFor(host)
  writeFileSync(join(work.rootfs, 'bin/fossil'), FOSSIL, { mode: 0o755 })
  mkdirSync(join(work.rootfs, 'usr')) // without it systemd-nspawn takes no tree for a system's
  writeFileSync(join(work.rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nfossil:x:499:498::/museum:/bin/sh\n')
  writeFileSync(join(work.rootfs, 'etc/group'), 'root:x:0:\nfossil:x:498:\nstaff:x:50:fossil\n')
  for (const applet of ['id', 'wc', 'grep', 'ip']) symlink(applet)
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})
function symlink(applet: string): void {
  try {
    symlinkSync('busybox', join(work.rootfs, 'bin', applet))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

describe.each(Object.entries(FIXTURES))('the config.json that %s wrote', (name, data) => {
  const container = name.replace(/-.*/, '')
  const owner = { docker: '1000', podman: '499' }[container] ?? ''
  const words = (): string[] => [container, '--config', fixture(name)]

  test('is refused for its volume, and nothing is made', async () => {
    const error = await varveError(work.push(container, '--config', fixture(name)))
    expect(error).toMatchObject({ code: 'E_CONFIG', status: 2, hint: `give it a place there: --persist ${data} (--mount none:${data} for no mount)` }) // prettier-ignore
    expect(await sh(`ls /var/lib/varve/c/${container} 2>/dev/null || echo none`)).toBe('none\n')
  })

  test('is changed as the plan says, by name', async () => {
    const mount = ['--mount', `/srv/${container}:${data}`]
    const { config } = await plan(...words(), ...mount)
    expect(config).toMatchObject({ engine: 'runc', kept: [], volumes: [], notes: [] })
    expect(config.from).toContain(`${name}.json`)
    const names = new Set(config.changes.map(({ rewrite }) => rewrite))
    for (const expected of ['root', 'version', 'network', 'cgroups', 'sysctl', 'files', 'binds', 'options']) expect(names).toContain(expected) // prettier-ignore
    expect(config.changes.find(({ path }) => path === 'linux.cgroupsPath')?.now).toBe(`/varve/${container}`)
    const { stdout } = await varve(['plan', ...work.push(container, ...words().slice(1), ...mount).slice(1)])
    expect(stdout).toContain(
      '\n     sysctl, since they would be set for the host, or be refused\n       linux.sysctl: {"net.',
    )
    // each of them can be left out
    const { config: left } = await plan(...words(), ...mount, '--keep', 'sysctl', '--keep', 'cgroups')
    expect(left.changes.filter(({ rewrite }) => ['sysctl', 'cgroups'].includes(rewrite))).toEqual([])
  })

  test.each(['runc', 'crun'])('runs under %s, in its user, its limits and the network of the host', async (engine) => {
    await push(...words(), '--mount', `/srv/${engine}/${container}:${data}`, '--engine', engine)
    const id = `${container}-${engine}`
    const seen = await sh(`mkdir -p /srv/${engine}/${container}; chmod 777 /srv/${engine}/${container}
      cd /var/lib/machines/${container} && ${engine} run -d ${id} </dev/null >/run/log 2>&1 || { cat /run/log; exit 1; }
      pid=$(${engine} state ${id} | sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p')
      ${ANSWER}
      cat /proc/$pid/cgroup /proc/$pid/limits /proc/$pid/status
      ${engine} exec ${id} cat /etc/hosts; ${engine} exec ${id} ls /dev/shm
      ${engine} delete -f ${id}`)
    expect(seen.startsWith(`${owner}\n`)).toBe(true)
    expect(seen).toContain(`:memory:/varve/${container}\n`)
    expect(seen).toMatch(new RegExp(`^Uid:\t${owner}\t`, 'm'))
    expect(seen).toMatch(/^Seccomp:\t2$/m)
    expect(seen).toContain(`10.77.`) // the host's own /etc/hosts
    if (container === 'podman') expect(seen).toMatch(/^Max open files +1024 +4096 /m)
  })

  test('runs under systemd-nspawn, whose parser says nothing of what it refuses', async () => {
    const mount = [`/srv/nspawn/${container}:${data}`, '/etc/hostname:/srv/hostname:ro']
    const made = await push(...words(), ...mount.flatMap((each) => ['--mount', each]), '--engine', 'nspawn')
    expect(made.generation).toBeGreaterThan(1)
    // it needs a place for its cgroups that this host has not: all of version 2
    const seen = await sh(`mkdir -p /srv/nspawn/${container}; chmod 777 /srv/nspawn/${container}
      cat >/run/nspawn.sh <<'END'
      umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
      systemd-nspawn --oci-bundle=/var/lib/machines/${container} --register=no --keep-unit -M own </dev/null >/run/log 2>&1 &
      nspawn=$!
      ${ANSWER}
      pid=$(pgrep -o -f '^/bin/busybox httpd')
      cat /proc/$pid/limits /proc/$pid/status
      nsenter -t $pid -m -r /bin/sh -c 'echo x >/srv/hostname' 2>&1 | grep -o Read-only
      kill -KILL $nspawn $pid
END
      unshare -m sh /run/nspawn.sh || { cat /run/log; exit 1; }`)
    expect(seen.startsWith(`${owner}\n`)).toBe(true)
    expect(seen).toMatch(new RegExp(`^Uid:\t${owner}\t`, 'm'))
    expect(seen).toMatch(/^Seccomp:\t2$/m)
    expect(seen).toContain('Read-only\n')
  })
})

/** What the container serves, once it does. */
const ANSWER = `tries=0
      until busybox wget -q -O - http://127.0.0.1:8080/r.fossil; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { cat /run/log; exit 1; }
        sleep 0.1
      done 2>/dev/null`

describe('wishes', () => {
  test('are carried out, kept on the host, and hold until they are given anew', async () => {
    const say = ['--cmd', '/bin/sh', '--cmd=-c', '--cmd', 'echo "$A $B" $(id -u) $(id -g) $(id -G); cat /data/f; pwd']
    await sh('mkdir -p /srv/wish && echo mine >/srv/wish/f')
    const given = ['--env', 'A=1', '--env', 'B=é"\\', '--user', 'fossil', '--mount', '/srv/wish:/data:ro', '--cwd', '/etc', '--cap-drop', 'ALL']
    expect(await push('wish', ...say, ...given)).toMatchObject({ generation: 1 })
    const said = '1 é"\\ 499 498 498 50\nmine\n/etc\n'
    expect(await run('wish')).toBe(said)
    // nothing given is nothing changed
    expect(await push('wish')).toMatchObject({ generation: 1, previous: 1 })
    writeFileSync(join(work.rootfs, 'etc/version'), 'two')
    expect(await push('wish')).toMatchObject({ generation: 2 })
    expect(await run('wish')).toBe(said)
    const planned = await plan('wish', '--env', 'A=2')
    expect(planned.changes).toBe(true)
    expect(planned.config.kept.toSorted()).toEqual(['capDrop', 'cmd', 'cwd', 'mount', 'user'])
    await push('wish', '--env', 'A=2')
    expect(await run('wish', 'crun')).toBe('2  499 498 498 50\nmine\n/etc\n')
    // a rollback goes back to those of its generation
    await varveData(['rollback', `${host.alias}:wish`, ...work.common])
    expect(await push('wish')).toMatchObject({ generation: 4, previous: 4 })
    expect(await run('wish')).toBe(said)
    // and nothing is left of them
    await push('wish', '--forget-options')
    const { process, mounts, annotations } = configOf('wish')
    expect(process).toMatchObject({ args: ['/bin/sh'], cwd: '/', user: { uid: 0, gid: 0 } })
    expect(mounts.map(({ destination }) => destination)).not.toContain('/data')
    expect(annotations).toBeUndefined()
  }) // prettier-ignore

  test('travel with a delta as a file', async () => {
    const pack = join(work.state, '..', 'wish.varve')
    await varveData(['pack', `rootfs:${work.rootfs}`, '-o', pack, '--for', `${host.alias}:packed`, '--cmd', '/bin/echo', 'packed', ...work.common]) // prettier-ignore
    await varveData(['apply', pack, `${host.alias}:packed`, ...work.common])
    expect(await run('packed')).toBe('packed\n')
    expect(await push('packed')).toMatchObject({ generation: 1, previous: 1 })
  })

  test('--net none has no way out, path:FILE is in that namespace', async () => {
    const command = ['--cmd', '/bin/grep', '--cmd=-c', '--cmd', '', '/proc/net/dev']
    await push('net', ...command, '--net', 'none')
    expect(await run('net')).toBe('3\n') // two lines of titles, and lo
    await sh('ip netns add web && ip -n web link add dummy0 type bridge')
    await push('net', '--net', 'path:/run/netns/web')
    expect(await run('net')).toBe('4\n')
    expect(await run('net', 'crun')).toBe('4\n')
    await push('net', '--net', 'host')
    expect(Number(await run('net'))).toBeGreaterThanOrEqual(4)
  })

  test('--config-patch comes last, and tells what changed beneath it', async () => {
    const patch = written('patch.json', { process: { args: ['/bin/echo', 'patched'] }, 'x-own': 18446744073 })
    await push('patch', '--cmd', '/bin/echo', 'one', '--config-patch', patch)
    expect(await run('patch')).toBe('patched\n')
    const silent = await varve(work.push('patch'))
    expect([silent.status, silent.stderr]).toEqual([0, expect.not.stringContaining('W_PATCH')])
    const changed = await varve(work.push('patch', '--cmd', '/bin/echo', 'two'))
    expect(changed.stderr).toContain('process.args was ["/bin/echo","one"] under --config-patch and is ["/bin/echo","two"] now; the patch makes it ["/bin/echo","patched"] [W_PATCH]')
    expect(await run('patch')).toBe('patched\n')
    expect((await varve(work.push('patch'))).stderr).not.toContain('W_PATCH')
  }) // prettier-ignore

  test('a limit that the host cannot give is lowered and told', async () => {
    const config = JSON.parse(readFileSync(fixture('podman-4.3'), 'utf8')) as Config & { mounts: object }
    const odd = { ...config, mounts: config.mounts.filter(({ destination }) => destination !== '/museum'), process: { ...config.process, rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 1 }] } }
    // digits that no double holds
    const text = JSON.stringify(odd).replace('"hard":1', '"hard":18446744073709551615')
    const pushed = await varve(work.push('limit', '--config', written('limit.json', text), '--cmd', '/bin/sh', '--cmd=-c', '--cmd', 'ulimit -Hn'))
    expect(pushed.stderr).toContain('process.rlimits[RLIMIT_NOFILE].hard [W_CONFIG]')
    const most = (await sh('ulimit -Hn')).trim()
    expect(await run('limit')).toBe(`${most}\n`)
    expect(await run('limit', 'crun')).toBe(`${most}\n`)
    const kept = written('kept.json', text.replace('"hard":18446744073709551615', '"hard":18446744073709551615,"x":1'))
    await varve(work.push('limit', '--config', kept, '--keep', 'rlimits'))
    expect(await sh(`grep -c 18446744073709551615 /var/lib/machines/limit/config.json`)).toBe('1\n')
  }) // prettier-ignore
})

describe('refuses', () => {
  const good = {
    ociVersion: '1.0.2',
    process: { args: ['/bin/echo', 'good'], cwd: '/' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['mode=755'] },
    ],
    linux: { namespaces: [{ type: 'mount' }, { type: 'pid' }] },
  }
  const bad: readonly [string, () => string[], string, number, string][] = [
    ['a config that is no JSON', () => ['--config', written('c', '{"ociVersion"')], 'E_CONFIG', 2, 'it is no JSON'],
    ['a config without a process', () => ['--config', written('c', { ociVersion: '1.0.2' })], 'E_CONFIG', 2, 'it has no process'],
    ['a config that is not there', () => ['--config', join(work.state, 'nothing')], 'E_SOURCE_UNREADABLE', 3, 'ENOENT'],
    ['a patch that is no object', () => ['--config-patch', written('c', '[1]')], 'E_CONFIG', 2, 'it is no JSON object'],
    ['a working directory in /proc', () => ['--config', written('c', { ...good, process: { ...good.process, cwd: '/x/../proc/self/fd/7' } })], 'E_CONFIG', 2, 'lies in /proc'],
    ['a mount that climbs', () => ['--config', written('c', { ...good, mounts: [{ destination: '/data/../../etc', source: '/', type: 'bind', options: ['rbind'] }] })], 'E_CONFIG', 2, 'without ".."'],
    ['what only cgroups of version 2 can do', () => ['--config', written('c', { ...good, linux: { resources: { unified: { 'memory.high': '1' } } } })], 'E_CONFIG', 2, 'the host has cgroups of v1'],
    ['a user that the image lacks', () => ['--user', 'nobody'], 'E_CONFIG_USER', 3, 'the image has no such user'],
    ['a group that the image lacks', () => ['--user', 'fossil:wheel'], 'E_CONFIG_USER', 3, 'the image has no such group'],
    ['a volume of an engine', () => ['--config', fixture('docker-20.10')], 'E_CONFIG', 2, '/data (volume a25739d2'],
  ] // prettier-ignore

  test('nothing of what is good', async () => {
    await push('bad', '--config', written('good', good))
    expect(await run('bad')).toBe('good\n')
  })

  test.each(bad)('%s, and all stays as it was', async (_, words, code, status, message) => {
    const before = await sh('readlink /var/lib/varve/c/bad/current; cat /var/lib/machines/bad/config.json')
    const error = await varveError(work.push('bad', ...words()))
    expect(error).toMatchObject({ code, status, message: expect.stringContaining(message) })
    expect(await sh('readlink /var/lib/varve/c/bad/current; cat /var/lib/machines/bad/config.json')).toBe(before)
  })

  test('a bundle whose root is elsewhere, and says how to name it', async () => {
    mkdirSync(join(work.state, '../bundle'))
    written('bundle/config.json', { ...good, root: { path: work.rootfs } })
    const bundle = join(work.state, '../bundle')
    const error = await varveError(['push', `bundle:${bundle}`, `${host.alias}:bad`, ...work.common])
    expect(error).toMatchObject({ code: 'E_CONFIG', status: 2, hint: expect.stringContaining(`rootfs:${work.rootfs} --config ${bundle}/config.json`) }) // prettier-ignore
    const pushed = await varveData<Report>(['push', `rootfs:${work.rootfs}`, `${host.alias}:bad`, '--config', `${bundle}/config.json`, ...work.common]) // prettier-ignore
    expect(pushed.generation).toBeGreaterThan(0)
  })

  test('to follow a link to the users', async () => {
    const linked = join(work.state, '../linked')
    mkdirSync(join(linked, 'etc'), { recursive: true })
    symlinkSync('/etc/passwd', join(linked, 'etc/passwd'))
    const args = work
      .push('bad', '--user', 'root')
      .map((word) => (word.startsWith('rootfs:') ? `rootfs:${linked}` : word))
    expect(await varveError(args)).toMatchObject({ code: 'E_CONFIG_USER', status: 3, message: expect.stringContaining('etc/passwd of the image is a symbolic link') }) // prettier-ignore
  })
})

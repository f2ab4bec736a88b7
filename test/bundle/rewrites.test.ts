// Each rewrite by its name: what it changes, what it leaves alone, what it refuses, and that it can be left out.
import { describe, expect, test } from 'vitest'
import { at, put, type Json, type JsonObject } from '../../src/bundle/document.ts'
import { REWRITES, rewrite, type Around, type RewriteName } from '../../src/bundle/rewrites.ts'
import type { Facts } from '../../src/model/engine.ts'
import { AROUND, FIXTURES, HOST, fixture } from './around.ts'

const ID = 'a'.repeat(64)
const DOCKER = `/var/lib/docker/containers/${ID}`
const bind = (destination: string, source: string, ...options: string[]): JsonObject => ({ destination, type: 'bind', source, options: ['rbind', ...options] }) // prettier-ignore
const without = (facts: Partial<Facts>): Partial<Around> => ({ facts: { ...HOST, ...facts } })
const OF_HOST = [bind('/etc/resolv.conf', '/etc/resolv.conf', 'ro'), bind('/etc/hosts', '/etc/hosts', 'ro')]
const NO_NETWORK: Partial<Around> = { network: { kind: 'none' } }
const V2 = { cgroup: 'v2', controllers: new Set(['memory', 'cpu', 'cpuset', 'pids', 'io', 'hugetlb', 'rdma']) } as const

/** The rewrite, where it is, what was there and what is there then; undefined is nothing. */
const cases: readonly [RewriteName, string[], Json | undefined, Json | undefined, Partial<Around>?][] = [
  ['version', ['ociVersion'], '1.0.2-dev', '1.0.2'],
  ['version', ['ociVersion'], '1.1.0+dev', '1.1.0+dev'],
  ['userns', ['linux', 'namespaces'], [{ type: 'user' }, { type: 'pid' }], [{ type: 'pid' }]],
  ['userns', ['linux', 'uidMappings'], [{ containerID: 0, hostID: 100000, size: 65536 }], undefined],
  ['userns', ['linux', 'gidMappings'], [{ containerID: 0, hostID: 100000, size: 65536 }], undefined],
  ['namespaces', ['linux', 'namespaces'], [{ type: 'ipc', path: '/proc/7/ns/ipc' }], [{ type: 'ipc' }]],
  ['network', ['linux', 'namespaces'], [{ type: 'network', path: '/run/netns/x' }, { type: 'pid' }], [{ type: 'pid' }]],
  ['network', ['linux', 'namespaces'], [{ type: 'pid' }], [{ type: 'pid' }, { type: 'network' }], { network: { kind: 'none' } }],
  ['network', ['linux', 'namespaces'], [{ type: 'network' }], [{ type: 'network', path: '/run/netns/web' }], { network: { kind: 'path', path: '/run/netns/web' } }],
  ['network', ['linux', 'namespaces'], undefined, [{ type: 'network' }], { network: { kind: 'none' } }],
  ['network', ['linux', 'namespaces'], undefined, undefined],
  ['cgroups', ['linux', 'cgroupsPath'], `/docker/${ID}`, '/varve/app'],
  ['cgroups', ['linux', 'cgroupsPath'], '', '/varve/app'],
  ['cgroups', ['linux', 'cgroupsPath'], undefined, undefined],
  ['sysctl', ['linux', 'sysctl'], { 'net.ipv4.ip_forward': '1' }, undefined],
  ['hooks', ['hooks'], { prestart: [{ path: '/x' }] }, undefined],
  ['terminal', ['process', 'terminal'], true, false],
  ['terminal', ['process', 'consoleSize'], { height: 1, width: 1 }, undefined],
  ['terminal', ['process', 'terminal'], undefined, undefined],
  ['files', ['mounts'], [bind('/etc/resolv.conf', `${DOCKER}/resolv.conf`, 'rprivate'), bind('/etc/hosts', `${DOCKER}/hosts`)], OF_HOST],
  ['files', ['mounts'], [bind('/etc/hosts', `${DOCKER}/hosts`)], [], without({ files: new Set() })],
  ['files', ['mounts'], [bind('/etc/hosts', `${DOCKER}/hosts`)], [], NO_NETWORK],
  ['files', ['mounts'], [bind('/etc/hostname', `${DOCKER}/hostname`)], [], NO_NETWORK],
  ['files', ['mounts'], [bind('/etc/hostname', `${DOCKER}/hostname`)], OF_HOST],
  ['files', ['mounts'], [bind('/run/.containerenv', `/run/containers/storage/overlay-containers/${ID}/userdata/.containerenv`)], [], NO_NETWORK],
  ['files', ['mounts'], [bind('/etc/hosts', `/run/containerd/io.containerd.grpc.v1.cri/sandboxes/${ID}/hosts`)], [bind('/etc/hosts', '/etc/hosts', 'ro')], without({ files: new Set(['/etc/hosts']) })],
  ['files', ['mounts'], [bind('/etc/hosts', `/var/lib/nerdctl/1935db59/etchosts/default/${ID}/hosts`)], [], NO_NETWORK],
  ['files', ['mounts'], [bind('/dev/shm', `${DOCKER}/mounts/shm`)], [{ destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'] }], NO_NETWORK],
  ['files', ['mounts'], [bind('/etc/hosts', '/srv/hosts')], [bind('/etc/hosts', '/srv/hosts')]],
  ['files', ['mounts'], [], OF_HOST, { made: true }],
  ['files', ['mounts'], [], [], { made: true, network: { kind: 'none' } }],
  ['files', ['mounts'], [bind('/etc/hosts', '/srv/hosts')], [bind('/etc/hosts', '/srv/hosts'), bind('/etc/resolv.conf', '/etc/resolv.conf', 'ro')], { made: true }],
  ['binds', ['mounts'], [bind('/data', '/var/lib/docker/volumes/x/_data')], [], { covered: new Set(['/data']) }],
  ['binds', ['mounts'], [bind('/data', '/srv/data')], [bind('/data', '/srv/data')]],
  ['binds', ['mounts'], [bind('/dev/ttyUSB0', '/dev/ttyUSB0')], [bind('/dev/ttyUSB0', '/dev/ttyUSB0')], { foreign: true }],
  ['binds', ['mounts'], [{ destination: '/v', type: 'tmpfs' }], [], { covered: new Set(['/v']) }],
  ['rlimits', ['process', 'rlimits'], [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 2097152 }], [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 1048576 }]],
  ['rlimits', ['process', 'rlimits'], [{ type: 'RLIMIT_NOFILE', soft: 18446744073709551615n, hard: 18446744073709551615n }], [{ type: 'RLIMIT_NOFILE', soft: 1048576, hard: 1048576 }]],
  ['rlimits', ['process', 'rlimits'], [{ type: 'RLIMIT_NOFILE', soft: -1, hard: -1 }], [{ type: 'RLIMIT_NOFILE', soft: 1048576, hard: 1048576 }]],
  ['rlimits', ['process', 'rlimits'], [{ type: 'RLIMIT_CORE', soft: 0, hard: 18446744073709551615n }], [{ type: 'RLIMIT_CORE', soft: 0, hard: 18446744073709551615n }]],
  ['seccomp', ['linux', 'seccomp'], { defaultAction: 'SCMP_ACT_ALLOW' }, { defaultAction: 'SCMP_ACT_ALLOW' }],
  ['seccomp', ['linux', 'seccomp'], { defaultAction: 'SCMP_ACT_ALLOW' }, undefined, without({ seccomp: false })],
  ['apparmor', ['process', 'apparmorProfile'], 'mine', 'mine'],
  ['apparmor', ['process', 'apparmorProfile'], 'mine', undefined, without({ apparmor: false })],
  ['apparmor', ['process', 'apparmorProfile'], 'docker-default', undefined],
  ['apparmor', ['process', 'apparmorProfile'], 'containers-default-0.50.1', undefined],
  ['selinux', ['process', 'selinuxLabel'], 'x', 'x'],
  ['selinux', ['process', 'selinuxLabel'], 'x', undefined, without({ selinux: false })],
  ['selinux', ['linux', 'mountLabel'], 'x', undefined, without({ selinux: false })],
  ['resources', ['linux', 'resources'], { memory: { limit: 1, swappiness: 0 }, blockIO: { leafWeight: 1, weight: 10 } }, { memory: { limit: 1, swappiness: 0 }, blockIO: { leafWeight: 1, weight: 10 } }],
  ['resources', ['linux', 'resources'], { memory: { limit: 1, swappiness: 0, kernel: 1 }, cpu: { realtimePeriod: 1 }, network: {} }, { memory: { limit: 1 }, cpu: {} }, without(V2)],
  ['resources', ['linux', 'resources'], { unified: { 'memory.high': '1' } }, { unified: { 'memory.high': '1' } }, without(V2)],
  ['resources', ['linux', 'resources'], { memory: { limit: 1 }, pids: { limit: 2 }, cpu: { shares: 3, cpus: '0' } }, { pids: { limit: 2 }, cpu: { shares: 3 } }, without({ controllers: new Set(['cpu', 'pids']) })],
  ['resources', ['linux', 'resources'], { unified: { x: '1' }, memory: { limit: 1 } }, { unified: { x: '1' }, memory: { limit: 1 } }, without({ cgroup: 'unknown', controllers: new Set() })],
  ['nspawn', ['hostname'], 'a_b', 'a-b', { engine: 'nspawn' }],
  ['nspawn', ['hostname'], 'a_b', 'a_b', { engine: 'crun' }],
] // prettier-ignore

const plain: JsonObject = { ociVersion: '1.0.2', process: { args: ['/x'], cwd: '/' }, hostname: 'h' }

describe('rewrite()', () => {
  test.each(cases)('%s does what case %# says', (name, path, was, now, more = {}) => {
    const config = put(plain, path, was)
    const around = { ...AROUND, ...more }
    const others = REWRITES.filter((other) => other !== name)
    const made = rewrite(config, around, others)
    expect(at(made.config, ...path)).toEqual(now)
    // all of it is told, by its name, and nothing where nothing changes
    expect(made.changes.length > 0).toBe(
      JSON.stringify(was, big) !== JSON.stringify(now, big) || around.engine === 'nspawn',
    )
    for (const change of made.changes) expect(change.rewrite).toBe(name)
    // once is enough, and with its off switch there is none
    if (name !== 'files' || !around.made) expect(rewrite(made.config, around, others).changes).toEqual([])
    if (was !== '') expect(rewrite(config, around, REWRITES)).toEqual({ config, changes: [] })
  })

  test('every rewrite has a case', () => {
    expect(new Set([...cases.map(([name]) => name), 'init'])).toEqual(new Set(REWRITES))
  })

  test('init: takes the init of Docker and Podman from before the command', () => {
    for (const init of ['/sbin/docker-init', '/dev/init', '/run/podman-init']) {
      const mounts = [bind(init, '/usr/bin/catatonit'), bind('/x', '/x')]
      const config = put(put(plain, ['mounts'], mounts), ['process', 'args'], [init, '--', 'sh', '-c', 'x'])
      const { config: made } = rewrite(config, { ...AROUND, network: { kind: 'host' } }, [])
      expect([at(made, 'process', 'args'), at(made, 'mounts')]).toEqual([['sh', '-c', 'x'], [bind('/x', '/x')]])
    }
    const own = put(plain, ['process', 'args'], ['/sbin/docker-init', '--', 'x'])
    expect(rewrite(own, AROUND, []).changes).toEqual([])
  })

  test('refuses volumes and paths of another machine by name, all at once, and says what would do', () => {
    const mounts = [bind('/data', '/var/lib/docker/volumes/fossil/_data'), bind('/na med', '/mnt/x'), bind('/conf', '/home/me/conf'), bind('/etc/hosts', `${DOCKER}/hosts`)] // prettier-ignore
    const around = { ...AROUND, foreign: true, volumes: new Map([['/na med', 'other']]) }
    expect(() => rewrite(put(plain, ['mounts'], mounts), around, [])).toThrow(
      expect.objectContaining({
        code: 'E_CONFIG',
        message:
          'cannot mount what is on the machine that the container comes from, not on the host: /data (volume fossil), /na med (volume other), /conf (/home/me/conf)',
        hint: 'give it a place there: --persist /data --mount /srv/app/na med:/na med --mount /srv/app/conf:/conf (--mount none:/data for no mount)',
      }),
    )
    expect(rewrite(put(plain, ['mounts'], mounts), around, ['binds', 'files']).changes).toEqual([])
  }) // prettier-ignore

  test('never keeps an empty cgroupsPath', () => {
    const config = put(plain, ['linux', 'cgroupsPath'], '')
    expect(() => rewrite(config, AROUND, ['cgroups'])).toThrow(expect.objectContaining({ code: 'E_CONFIG' }))
  })

  test.each(['v1', 'hybrid', 'none'] as const)('refuses what only cgroups of version 2 can do on a host with %s', (cgroup) => {
    const config = put(plain, ['linux', 'resources', 'unified'], { 'memory.high': '1' })
    expect(() => rewrite(config, { ...AROUND, facts: { ...HOST, cgroup } }, [])).toThrow(
      expect.objectContaining({ code: 'E_CONFIG', message: expect.stringContaining('memory.high') }),
    )
  }) // prettier-ignore

  test('tells as a loss what somebody may miss, and nothing that every container has', () => {
    const mounts = [
      bind('/etc/hostname', `${DOCKER}/hostname`),
      bind('/run/secrets/key', `${DOCKER}/mounts/secrets/key`),
    ]
    const lost = rewrite(put(put(plain, ['mounts'], mounts), ['hooks'], {}), AROUND, []).changes.filter(({ loses }) => loses) // prettier-ignore
    expect(lost.map(({ path }) => path)).toEqual(['mounts[/run/secrets/key]'])
  })

  test.each(Object.keys(FIXTURES))('leaves what it does not know of %s as it was', (name) => {
    const odd = { 'x-unknown': [{ deep: 18446744073709551615n }], vm: { kernel: { path: '/x' } } }
    const config = { ...fixture(name), ...odd, linux: { ...(fixture(name)['linux'] as JsonObject), odd } }
    const { config: made } = rewrite(config, { ...AROUND, covered: new Set(Object.values(FIXTURES)) }, [])
    expect(made).toMatchObject({ ...odd, linux: { odd, seccomp: at(config, 'linux', 'seccomp') } })
  })
})

function big(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value
}

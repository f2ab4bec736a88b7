// What systemd-nspawn's parser refuses, one by one; e2e/config.test.ts has it take what is left.
import { describe, expect, test } from 'vitest'
import { at, put, type Json, type JsonObject } from '../../src/bundle/document.ts'
import { forNspawn } from '../../src/bundle/nspawn.ts'
import { FIXTURES, fixture } from './around.ts'

const plain: JsonObject = { ociVersion: '1.0.2', process: { args: ['/x'], cwd: '/', env: ['A=1'] }, root: { path: 'rootfs' }, hostname: 'app', linux: {} } // prettier-ignore
const rule = (names: string[], action: string, more: JsonObject = {}): JsonObject => ({ names, action: `SCMP_ACT_${action}`, ...more }) // prettier-ignore
const seccomp = (...syscalls: JsonObject[]): JsonObject => ({ defaultAction: 'SCMP_ACT_ERRNO', syscalls })

describe('forNspawn()', () => {
  test.each<[string, string[], Json, Json | undefined]>([
    ['another version', ['ociVersion'], '1.0.2-dev', '1.0.0'],
    ['hooks', ['hooks'], { prestart: [] }, undefined],
    ['an unknown key', ['domainname'], 'x', undefined],
    ['an unknown key of the process', ['process', 'ioPriority'], {}, undefined],
    ['a profile', ['process', 'apparmorProfile'], 'x', undefined],
    ['a mask', ['process', 'user'], { uid: 1, gid: 2, umask: 18, additionalGids: [3] }, { uid: 1, gid: 2, additionalGids: [3] }],
    ['a name that no shell could say', ['process', 'env'], ['A=1', 'a.b=2', '_C=3', '1D=4'], ['A=1', '_C=3']],
    ['resources', ['linux', 'resources'], { cpu: { shares: 0 } }, undefined],
    ['a cgroup that is no slice', ['linux', 'cgroupsPath'], '/varve/app', undefined],
    ['an unknown key of linux', ['linux', 'personality'], {}, undefined],
    ['a namespace of time', ['linux', 'namespaces'], [{ type: 'time' }, { type: 'pid', path: '/x' }, { type: 'network', path: '/y' }], [{ type: 'pid' }, { type: 'network', path: '/y' }, { type: 'mount' }]],
    ['options of a bind', ['mounts'], [{ destination: '/a', type: 'bind', source: '/b', options: ['rbind', 'rprivate', 'nosuid', 'rw'], uidMappings: [] }], [{ destination: '/a', type: 'bind', source: '/b', options: ['rbind'] }]],
    ['propagation of a file system', ['mounts'], [{ destination: '/a', type: 'tmpfs', source: 'tmpfs', options: ['rprivate', 'nosuid', 'tmpcopyup'] }], [{ destination: '/a', type: 'tmpfs', source: 'tmpfs', options: ['nosuid'] }]],
    ['a rule like the default', ['linux', 'seccomp'], seccomp(rule(['bdflush'], 'ERRNO'), rule(['read'], 'ALLOW')), seccomp(rule(['read'], 'ALLOW'))],
    ['an errno', ['linux', 'seccomp'], { ...seccomp(rule(['read'], 'LOG', { errnoRet: 1, comment: 'x' })), defaultErrnoRet: 38, flags: [] }, seccomp(rule(['read'], 'LOG'))],
    ['ENOSYS for clone3', ['linux', 'seccomp'], seccomp(rule(['clone3'], 'ERRNO', { errnoRet: 38 })), seccomp(rule(['clone3'], 'ALLOW'))],
    ['ENOSYS for clone3 among others', ['linux', 'seccomp'], { ...seccomp(rule(['clone3', 'bpf'], 'ERRNO')), defaultAction: 'SCMP_ACT_ALLOW' }, { ...seccomp(rule(['bpf'], 'ERRNO')), defaultAction: 'SCMP_ACT_ALLOW' }],
    ['an action that needs somebody else', ['linux', 'seccomp'], seccomp(rule(['read'], 'TRACE'), rule(['write'], 'NOTIFY')), seccomp()],
    ['a default that needs somebody else', ['linux', 'seccomp'], { ...seccomp(), defaultAction: 'SCMP_ACT_TRACE' }, undefined],
    ['a key of an argument', ['linux', 'seccomp'], seccomp(rule(['read'], 'ALLOW', { args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ', x: 1 }] })), seccomp(rule(['read'], 'ALLOW', { args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }] }))],
    ['a device with a name', ['linux', 'devices'], [{ path: '/dev/x', type: 'c', major: 1, minor: 3, x: 1 }], [{ path: '/dev/x', type: 'c', major: 1, minor: 3 }]],
    ['a host name that is none', ['hostname'], 'a_b', 'a-b'],
    ['a host name that ends in a dash', ['hostname'], 'a-', undefined],
  ])('does without %s', (_, path, was, now) => {
    expect(at(forNspawn(put(plain, path, was)), ...path)).toEqual(now)
  }) // prettier-ignore

  test('keeps a bind read-only by its path, since no option says it', () => {
    const mounts = [{ destination: '/a', type: 'bind', source: '/a', options: ['rbind', 'ro'] }, { destination: '/b', type: 'bind', source: '/b', options: ['rbind'] }] // prettier-ignore
    const made = forNspawn(put(put(plain, ['mounts'], mounts), ['linux', 'readonlyPaths'], ['/proc/bus']))
    expect(at(made, 'linux', 'readonlyPaths')).toEqual(['/proc/bus', '/a'])
  })

  test.each(Object.keys(FIXTURES))('needs to be done once for %s', (name) => {
    const made = forNspawn(fixture(name))
    expect(forNspawn(made)).toEqual(made)
  })
})

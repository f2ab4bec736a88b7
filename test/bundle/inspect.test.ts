// A config.json out of what an engine says: field by field; test/engine/own-config.test.ts compares it with the engine's own.
import { describe, expect, test } from 'vitest'
import { ALL_CAPABILITIES, CAPABILITIES } from '../../src/bundle/capabilities.ts'
import { at, type Json, type JsonObject } from '../../src/bundle/document.ts'
import { MASKED } from '../../src/bundle/generated.ts'
import { devicesOf, fromInspect, groupsOf, volumesOf } from '../../src/bundle/inspect.ts'

const given = { process: { args: ['/image'], env: ['A=1'], cwd: '/w', user: undefined }, annotations: { a: 'b' }, volumes: [{ path: '/image-volume', owner: undefined }], user: { uid: 7, gid: 8 }, name: 'app' } // prettier-ignore
const of = (container: JsonObject): JsonObject => fromInspect(container, given)
const host = (config: JsonObject): JsonObject => of({ HostConfig: config })

describe('fromInspect()', () => {
  test('is what the image says where the engine says nothing', () => {
    expect(of({})).toMatchObject({
      ociVersion: '1.0.2',
      process: { args: ['/image'], env: expect.arrayContaining(['A=1']), cwd: '/w', user: { uid: 7, gid: 8 }, noNewPrivileges: false }, // prettier-ignore
      root: { readonly: false },
      hostname: 'app',
      annotations: { a: 'b' },
      linux: { cgroupsPath: '/varve/app', maskedPaths: MASKED },
    })
    expect(at(of({}), 'linux', 'resources')).toBeUndefined()
    // the engine's own volumes are among its mounts
    expect(JSON.stringify(of({})['mounts'])).not.toContain('/image-volume')
  })

  test.each<[JsonObject, string[], Json | undefined]>([
    [{ Privileged: true }, ['process', 'capabilities', 'bounding'], ALL_CAPABILITIES],
    [{ Privileged: true }, ['linux', 'maskedPaths'], []],
    [{ Privileged: true }, ['linux', 'resources', 'devices'], [{ allow: true, access: 'rwm' }]],
    [{ CapAdd: ['SYS_TIME'], CapDrop: ['CAP_CHOWN'] }, ['process', 'capabilities', 'bounding'], [...CAPABILITIES.slice(1), 'CAP_SYS_TIME']],
    [{ CapAdd: null, CapDrop: null }, ['process', 'capabilities', 'bounding'], CAPABILITIES],
    [{ ReadonlyRootfs: true }, ['root', 'readonly'], true],
    [{ SecurityOpt: ['no-new-privileges'] }, ['process', 'noNewPrivileges'], true],
    [{ SecurityOpt: ['no-new-privileges:false'] }, ['process', 'noNewPrivileges'], false],
    [{ OomScoreAdj: -5 }, ['process', 'oomScoreAdj'], -5],
    [{ Ulimits: [{ Name: 'nofile', Soft: 1, Hard: -1 }, { Name: 'RLIMIT_CORE', Soft: 0, Hard: 0 }] }, ['process', 'rlimits'], [{ type: 'RLIMIT_NOFILE', soft: 1, hard: 18446744073709551615n }, { type: 'RLIMIT_CORE', soft: 0, hard: 0 }]],
    [{ MaskedPaths: ['/x'], ReadonlyPaths: null }, ['linux', 'maskedPaths'], ['/x']],
    [{ Memory: 256, MemorySwap: 512, MemoryReservation: 0 }, ['linux', 'resources'], { memory: { limit: 256, swap: 512 } }],
    [{ Memory: 0, MemorySwap: 0, CpuShares: 0, PidsLimit: -1, BlkioWeight: 0, CpusetCpus: '' }, ['linux', 'resources'], undefined],
    [{ NanoCpus: 1500000000, CpuShares: 512, CpusetCpus: '0-1' }, ['linux', 'resources'], { cpu: { shares: 512, quota: 150000, period: 100000, cpus: '0-1' } }],
    [{ CpuQuota: 5, CpuPeriod: 10, PidsLimit: 9, BlkioWeight: 300 }, ['linux', 'resources'], { cpu: { quota: 5, period: 10 }, pids: { limit: 9 }, blockIO: { weight: 300 } }],
    [{ PidMode: 'host', IpcMode: 'host', UTSMode: 'host', NetworkMode: 'host', CgroupnsMode: 'private' }, ['linux', 'namespaces'], [{ type: 'mount' }, { type: 'cgroup' }]],
    [{ PidMode: '', IpcMode: 'shareable', UTSMode: '', NetworkMode: 'none' }, ['linux', 'namespaces'], ['pid', 'ipc', 'uts', 'network', 'mount'].map((type) => ({ type }))],
  ])('%#: reads a HostConfig', (config, path, expected) => {
    expect(at(host(config), ...path)).toEqual(expected)
  }) // prettier-ignore

  test('runs what the engine runs, under its name', () => {
    const made = of({ Path: '/entry', Args: ['-x', ''], Config: { Hostname: 'abc' } })
    expect([at(made, 'process', 'args'), made['hostname']]).toEqual([['/entry', '-x', ''], 'abc'])
  })

  test('mounts what the engine mounts', () => {
    const container = {
      HostConfig: { Tmpfs: { '/t': 'size=1m,exec' }, ShmSize: 1024 },
      Mounts: [
        { Type: 'bind', Source: '/a', Destination: '/b', RW: false, Propagation: 'rslave' },
        { Type: 'volume', Name: 'v', Source: '/volumes/v/_data', Destination: '/data', RW: true, Propagation: '' },
        { Type: 'npipe', Destination: '/x' },
      ],
    }
    const mounts = of(container)['mounts'] as JsonObject[]
    expect(mounts.slice(-3)).toEqual([
      { destination: '/b', type: 'bind', source: '/a', options: ['rbind', 'rslave', 'ro'] },
      { destination: '/data', type: 'bind', source: '/volumes/v/_data', options: ['rbind', 'rprivate'] },
      { destination: '/t', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec', 'size=1m', 'exec'] },
    ])
    expect(mounts.find(({ destination }) => destination === '/dev/shm')?.['options']).toContain('size=1024')
    expect(volumesOf(container)).toEqual(new Map([['/data', 'v']]))
  })

  test('tells of what it cannot say', () => {
    const container = { HostConfig: { Devices: [{ PathInContainer: '/dev/x' }], GroupAdd: ['staff', '7'] } }
    expect([devicesOf(container), groupsOf(container)]).toEqual([['/dev/x'], ['staff', '7']])
    expect([devicesOf({ HostConfig: { Devices: null } }), groupsOf({}), volumesOf({ Mounts: null })]).toEqual([[], [], new Map()]) // prettier-ignore
  })
})

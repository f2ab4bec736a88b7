// Makes a config.json ask no more than the host has: limits, filters, labels, and what its cgroups can hold.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { at, isObject, objectAt, objectsAt, put, textAt, type Json, type JsonObject } from './document.ts'
import type { Around } from './rewrites.ts'

/** Root may raise a limit that was inherited only where it has CAP_SYS_RESOURCE, and open files never beyond fs.nr_open. */
export function withinLimits(config: JsonObject, { facts }: Around): JsonObject {
  const limits = objectsAt(config, 'process', 'rlimits')
  const fitted = limits.map((limit) => {
    const most = facts.limits.get((textAt(limit, 'type') ?? '').replace(/^RLIMIT_/, ''))
    return most === undefined ? limit : { ...limit, soft: least(limit['soft'], most), hard: least(limit['hard'], most) }
  })
  return limits.length === 0 ? config : put(config, ['process', 'rlimits'], fitted)
}

function least(value: Json | undefined, most: bigint): Json {
  const wanted = typeof value === 'number' && Number.isInteger(value) ? BigInt(value) : value
  // some write "without limit" as -1
  if (typeof wanted !== 'bigint' || (wanted >= 0n && wanted <= most)) return value ?? 0
  return most <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(most) : most
}

/** Profiles that an engine loads for its own containers; nobody else has them. */
const ENGINE_PROFILE = /^(?:docker-default|containers-default-|cri-containerd\.apparmor\.d$|crio-default)/

export function withoutApparmor(config: JsonObject, { facts }: Around): JsonObject {
  const profile = textAt(config, 'process', 'apparmorProfile')
  const usable = profile === undefined || (facts.apparmor && !ENGINE_PROFILE.test(profile))
  return usable ? config : put(config, ['process', 'apparmorProfile'], undefined)
}

export function withoutSelinux(config: JsonObject, { facts }: Around): JsonObject {
  if (facts.selinux) return config
  return put(put(config, ['process', 'selinuxLabel'], undefined), ['linux', 'mountLabel'], undefined)
}

/** Files where a limit is set, by the controller of each version that has them. */
const CONTROLLERS = {
  memory: ['memory', 'memory'],
  cpu: ['cpu', 'cpu'],
  pids: ['pids', 'pids'],
  blockIO: ['blkio', 'io'],
  hugepageLimits: ['hugetlb', 'hugetlb'],
  rdma: ['rdma', 'rdma'],
} as const
/** What version 2 has no file for; crun refuses them there. */
const ONLY_V1: readonly (readonly [string, ...string[]])[] = [
  ['memory', 'kernel'],
  ['memory', 'kernelTCP'],
  ['memory', 'swappiness'],
  ['memory', 'disableOOMKiller'],
  ['cpu', 'realtimeRuntime'],
  ['cpu', 'realtimePeriod'],
  ['blockIO', 'leafWeight'],
  ['network'],
]

/** Throws E_CONFIG where only version 2 of cgroups could do what is asked. */
export function withinCgroups(config: JsonObject, { facts }: Around): JsonObject {
  const { cgroup, controllers } = facts
  const resources = at(config, 'linux', 'resources')
  if (!isObject(resources) || cgroup === 'unknown') return config
  const unified = Object.keys(objectAt(resources, 'unified'))
  if (unified.length > 0 && cgroup !== 'v2')
    throw new VarveError(
      'E_CONFIG',
      `cannot use linux.resources.unified (${escapeControls(unified.join(', ').slice(0, 200))}): the host has cgroups of ${cgroup === 'hybrid' ? 'version 1 beside version 2' : cgroup}`,
      {
        hint: 'say it with memory, cpu and pids instead: --config-patch FILE with {"linux":{"resources":{"unified":null}}}',
      },
    )
  let fitted: JsonObject = resources
  if (cgroup === 'v2') for (const path of ONLY_V1) fitted = put(fitted, path, undefined)
  if (cgroup !== 'none')
    for (const [key, [v1, v2]] of Object.entries(CONTROLLERS))
      if (!controllers.has(cgroup === 'v2' ? v2 : v1)) fitted = put(fitted, [key], undefined)
  if (cgroup !== 'none' && !controllers.has('cpuset'))
    for (const key of ['cpus', 'mems']) fitted = put(fitted, ['cpu', key], undefined)
  return put(config, ['linux', 'resources'], fitted)
}

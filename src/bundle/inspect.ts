// A config.json out of what an engine says of a container, for where its own config.json cannot be read.
import { withCapabilities } from './capabilities.ts'
import { at, listAt, objectAt, objectsAt, put, textAt, textsAt, type Json, type JsonObject } from './document.ts'
import { generate, MASKED, READ_ONLY, sharedMemory, type Given } from './generated.ts'

type Limit = { readonly type: string; readonly soft: Json; readonly hard: Json }

const PERIOD = 100_000
const NO_LIMIT = 18446744073709551615n
const KIND = { volume: 'bind', bind: 'bind', tmpfs: 'tmpfs' } as const

/**
 * Reads https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerInspect , which
 * Podman answers too. Devices are left to who knows them. Throws E_CONFIG.
 */
export function fromInspect(container: JsonObject, given: Given): JsonObject {
  const host = objectAt(container, 'HostConfig')
  const privileged = host['Privileged'] === true
  const command = [textAt(container, 'Path') ?? '', ...textsAt(container, 'Args')].filter((_, i, all) => all[0] !== '')
  const process = { ...given.process, args: command.length > 0 ? command : given.process.args }
  const made = generate({ ...given, process, volumes: [], name: given.name })
  const own = {
    hostname: textAt(container, 'Config', 'Hostname') || given.name,
    root: { path: 'rootfs', readonly: host['ReadonlyRootfs'] === true },
    process: processOf(objectAt(made, 'process'), host, privileged),
    mounts: mountsOf(objectsAt(made, 'mounts'), container, host),
  }
  const linux = {
    ...objectAt(made, 'linux'),
    namespaces: namespacesOf(host).map((type) => ({ type })),
    maskedPaths: privileged ? [] : pathsOf(host, 'MaskedPaths', MASKED),
    readonlyPaths: privileged ? [] : pathsOf(host, 'ReadonlyPaths', READ_ONLY),
  }
  return put({ ...made, ...own, linux }, ['linux', 'resources'], resourcesOf(host, privileged))
}

function processOf(process: JsonObject, host: JsonObject, privileged: boolean): JsonObject {
  const options = textsAt(host, 'SecurityOpt')
  const score = at(host, 'OomScoreAdj')
  const limits = objectsAt(host, 'Ulimits').map(limitOf)
  const capable = withCapabilities(process, privileged ? ['ALL'] : textsAt(host, 'CapAdd'), textsAt(host, 'CapDrop'))
  return {
    ...capable,
    noNewPrivileges: options.some((option) => /^no-new-privileges(?:[:=]true)?$/.test(option)),
    ...(typeof score === 'number' && score !== 0 ? { oomScoreAdj: score } : {}),
    ...(limits.length > 0 ? { rlimits: limits } : {}),
  }
}

/** Docker says -1 where config.json says 2^64 - 1. */
function limitOf(limit: JsonObject): Limit {
  const value = (key: string): Json => (limit[key] === -1 ? NO_LIMIT : (limit[key] ?? 0))
  const name = (textAt(limit, 'Name') ?? '').toUpperCase().replace(/^RLIMIT_/, '')
  return { type: `RLIMIT_${name}`, soft: value('Soft'), hard: value('Hard') }
}

function mountsOf(made: readonly JsonObject[], container: JsonObject, host: JsonObject): readonly JsonObject[] {
  const size = at(host, 'ShmSize')
  const shared = typeof size === 'number' && size > 0 ? sharedMemory(String(size)) : undefined
  const own = [
    ...objectsAt(container, 'Mounts').flatMap(mountOf),
    ...Object.keys(objectAt(host, 'Tmpfs')).map((destination) => ({
      destination,
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'nodev', 'noexec', ...(textAt(host, 'Tmpfs', destination) ?? '').split(',').filter(Boolean)],
    })),
  ]
  const taken = new Set<Json | undefined>(own.map(({ destination }) => destination))
  const rest = made.filter(({ destination }) => !taken.has(destination))
  return [...rest.map((mount) => (mount['destination'] === '/dev/shm' ? (shared ?? mount) : mount)), ...own]
}

function mountOf(mount: JsonObject): JsonObject[] {
  const type = KIND[textAt(mount, 'Type') as keyof typeof KIND]
  const destination = textAt(mount, 'Destination')
  if (type === undefined || destination === undefined) return []
  if (type === 'tmpfs') return [{ destination, type, source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec'] }]
  const options = ['rbind', textAt(mount, 'Propagation') || 'rprivate', ...(mount['RW'] === false ? ['ro'] : [])]
  return [{ destination, type, source: textAt(mount, 'Source') ?? '', options }]
}

function namespacesOf(host: JsonObject): string[] {
  const mode = (key: string): string | undefined => textAt(host, key)
  const types = { pid: 'PidMode', ipc: 'IpcMode', uts: 'UTSMode', network: 'NetworkMode' }
  const own = Object.entries(types).filter(([, key]) => mode(key) !== 'host')
  return [...own.map(([type]) => type), 'mount', ...(mode('CgroupnsMode') === 'private' ? ['cgroup'] : [])]
}

function pathsOf(host: JsonObject, key: string, usual: readonly string[]): readonly string[] {
  return Array.isArray(host[key]) ? textsAt(host, key) : usual
}

/** Zero and -1 say that nothing is said. */
function resourcesOf(host: JsonObject, privileged: boolean): JsonObject | undefined {
  const some = (values: Record<string, Json | undefined>): JsonObject | undefined => {
    const said = Object.entries(values).filter(([, value]) => value !== undefined)
    return said.length > 0 ? (Object.fromEntries(said) as JsonObject) : undefined
  }
  const count = (key: string): number | undefined => {
    const value = at(host, key)
    return typeof value === 'number' && value > 0 ? value : undefined
  }
  const nano = count('NanoCpus')
  return some({
    devices: privileged ? [{ allow: true, access: 'rwm' }] : undefined,
    memory: some({ limit: count('Memory'), reservation: count('MemoryReservation'), swap: swapOf(host) }),
    cpu: some({
      shares: count('CpuShares'),
      quota: nano === undefined ? count('CpuQuota') : Math.round((nano * PERIOD) / 1e9),
      period: nano === undefined ? count('CpuPeriod') : PERIOD,
      cpus: textAt(host, 'CpusetCpus') || undefined,
      mems: textAt(host, 'CpusetMems') || undefined,
    }),
    pids: some({ limit: count('PidsLimit') }),
    blockIO: some({ weight: count('BlkioWeight') }),
  })
}

function swapOf(host: JsonObject): number | undefined {
  const swap = at(host, 'MemorySwap')
  return typeof swap === 'number' && swap !== 0 && at(host, 'Memory') !== 0 ? swap : undefined
}

/** What a container was given by path of this machine, and config.json says by numbers: to be told of. */
export function devicesOf(container: JsonObject): string[] {
  return objectsAt(container, 'HostConfig', 'Devices').map((device) => textAt(device, 'PathInContainer') ?? '')
}

/** The engine's volumes by the places where they are mounted. */
export function volumesOf(container: JsonObject): ReadonlyMap<string, string> {
  const mounts = objectsAt(container, 'Mounts').filter((mount) => mount['Type'] === 'volume')
  return new Map(mounts.map((mount) => [textAt(mount, 'Destination') ?? '', textAt(mount, 'Name') ?? '']))
}

/** Groups that the user is given besides those of the image's files. */
export function groupsOf(container: JsonObject): readonly string[] {
  return listAt(container, 'HostConfig', 'GroupAdd').map(String)
}

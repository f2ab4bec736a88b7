// Makes a config.json one that systemd-nspawn takes: its parser refuses every key that it does not know, and says so to nobody.
//
// By systemd 252, src/nspawn/nspawn-oci.c; what it refused of Docker's and Podman's was run.
import { at, isObject, objectAt, objectsAt, put, textAt, textsAt, type Json, type JsonObject } from './document.ts'
import { isBind } from './mounts.ts'

const keys = (text: string): readonly string[] => text.split(' ')

const TOP = keys('ociVersion process root hostname mounts linux annotations')
const PROCESS = keys('terminal consoleSize cwd env args rlimits capabilities noNewPrivileges oomScoreAdj user')
// resources would need a bus to a service manager, and cgroupsPath the path of a slice
const LINUX = keys(
  'namespaces uidMappings gidMappings devices seccomp sysctl rootfsPropagation maskedPaths readonlyPaths',
)
const USER = keys('uid gid additionalGids')
const ROOT = keys('path readonly')
const MOUNT = keys('destination source type options')
const DEVICE = keys('type path major minor fileMode uid gid')
const SECCOMP = keys('defaultAction architectures syscalls')
const RULE = keys('names action args')
const ARGUMENT = keys('index value valueTwo op')
const NAMESPACES = keys('pid network mount ipc uts user cgroup')
const ACTIONS = keys('ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG TRAP').map((action) => `SCMP_ACT_${action}`)
const PROPAGATION = /^r?(?:private|slave|shared|unbindable)$/

export function forNspawn(config: JsonObject): JsonObject {
  const linux = only(objectAt(config, 'linux'), LINUX)
  const process = only(objectAt(config, 'process'), PROCESS)
  const hostname = textAt(config, 'hostname')?.replaceAll('_', '-')
  const mounts = objectsAt(config, 'mounts')
  const fitted = {
    ...only(config, TOP),
    ociVersion: '1.0.0',
    process: processOf(process),
    root: only(objectAt(config, 'root'), ROOT),
    mounts: mounts.map(mountOf),
    linux: linuxOf(linux, readOnly(mounts)),
  }
  return put(fitted, ['hostname'], hostname !== undefined && isHostname(hostname) ? hostname : undefined)
}

function processOf(process: JsonObject): JsonObject {
  const env = textsAt(process, 'env').filter((item) => /^[A-Za-z_][A-Za-z0-9_]*=/.test(item))
  const user = at(process, 'user')
  return { ...process, ...(isObject(user) ? { user: only(user, USER) } : {}), env }
}

function linuxOf(linux: JsonObject, readOnlyBinds: readonly string[]): JsonObject {
  const known = objectsAt(linux, 'namespaces').filter((item) => NAMESPACES.includes(textAt(item, 'type') ?? ''))
  // one of mounts it insists on
  const namespaces = known.some(({ type }) => type === 'mount') ? known : [...known, { type: 'mount' }]
  const isNetwork = (type: Json | undefined): boolean => type === 'network'
  const devices = objectsAt(linux, 'devices').map((device) => only(device, DEVICE))
  const seccomp = at(linux, 'seccomp')
  const fitted = {
    ...linux,
    namespaces: namespaces.map((item) => only(item, isNetwork(item['type']) ? ['type', 'path'] : ['type'])),
    ...(devices.length > 0 ? { devices } : {}),
    readonlyPaths: [...textsAt(linux, 'readonlyPaths'), ...readOnlyBinds],
  }
  return isObject(seccomp) ? put(fitted, ['seccomp'], seccompOf(seccomp)) : fitted
}

/** A bind mount takes no option but rbind; others pass to the file system, which knows no propagation. */
function mountOf(mount: JsonObject): JsonObject {
  const options = textsAt(mount, 'options')
  const own = isBind(mount)
    ? options.filter((option) => option === 'rbind')
    : options.filter((option) => !PROPAGATION.test(option) && option !== 'tmpcopyup')
  return { ...only(mount, MOUNT), options: own }
}

function readOnly(mounts: readonly JsonObject[]): string[] {
  return mounts
    .filter((mount) => isBind(mount) && textsAt(mount, 'options').includes('ro'))
    .map((mount) => textAt(mount, 'destination') ?? '')
}

/**
 * There is no errno but EPERM, and no rule like the default. EPERM for clone3, where Docker says ENOSYS, would end every
 * pthread_create; so it is allowed. Undefined where the default itself cannot be said.
 */
function seccompOf(seccomp: JsonObject): JsonObject | undefined {
  const initial = textAt(seccomp, 'defaultAction')
  if (initial === undefined || !ACTIONS.includes(initial)) return undefined
  const rules = objectsAt(seccomp, 'syscalls')
    .map((rule) => (textsAt(rule, 'names').includes('clone3') ? withoutErrno(rule) : [rule]))
    .flat()
    .filter((rule) => rule['action'] !== initial && ACTIONS.includes(textAt(rule, 'action') ?? ''))
    .map((rule) => {
      const args = objectsAt(rule, 'args').map((argument) => only(argument, ARGUMENT))
      return { ...only(rule, RULE), ...(args.length > 0 ? { args } : {}) }
    })
  return { ...only(seccomp, SECCOMP), syscalls: rules }
}

function withoutErrno(rule: JsonObject): JsonObject[] {
  if (rule['action'] !== 'SCMP_ACT_ERRNO') return [rule]
  const names = textsAt(rule, 'names').filter((name) => name !== 'clone3')
  const allowed = { names: ['clone3'], action: 'SCMP_ACT_ALLOW' }
  return names.length > 0 ? [{ ...rule, names }, allowed] : [allowed]
}

function isHostname(text: string): boolean {
  return /^(?=.{1,64}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/.test(
    text,
  )
}

function only(value: JsonObject, allowed: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([key]) => allowed.includes(key)))
}

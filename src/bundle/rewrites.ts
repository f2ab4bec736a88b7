// The changes that a config.json needs on a host without an engine's helpers, each by its name, with why, in their order.
import { VarveError } from '../errors.ts'
import type { Engine, Facts, Network } from '../model/engine.ts'
import { differences, type Difference } from './differences.ts'
import { at, objectsAt, put, textAt, type JsonObject } from './document.ts'
import { withinCgroups, withinLimits, withoutApparmor, withoutSelinux } from './fit.ts'
import { withoutEngineFiles, withoutEngineInit, withoutLocalBinds } from './mounts.ts'
import { forNspawn } from './nspawn.ts'

/** All that decides what must change. */
export type Around = {
  readonly container: string
  readonly engine: Engine
  readonly facts: Facts
  readonly network: Network
  /** Varve made the config, so nobody else has said what of the host is mounted. */
  readonly made: boolean
  /** Its paths are those of another machine. */
  readonly foreign: boolean
  /** An engine's volumes by the places where they are mounted. */
  readonly volumes: ReadonlyMap<string, string>
  /** Places at which the operator mounts something else. */
  readonly covered: ReadonlySet<string>
}

type Rewrite = {
  readonly name: string
  readonly why: string
  /** Throws E_CONFIG where no change would do. */
  readonly apply: (config: JsonObject, around: Around) => JsonObject
  /** Something is lost that somebody may have wanted: it is told at each push that makes a generation of it. */
  readonly loses?: (difference: Difference) => boolean
}

const always = (): boolean => true

const TABLE = [
  { name: 'version', why: 'engines know released versions', apply: released },
  { name: 'init', why: 'the init of the local engine is not on the host', apply: withoutEngineInit },
  { name: 'userns', why: 'owners of files in a tree are not shifted', apply: withoutUserNamespace },
  { name: 'namespaces', why: 'they are those of local containers', apply: withoutPaths, loses: always },
  { name: 'network', why: 'the network is as --net says', apply: inNetwork },
  { name: 'cgroups', why: 'the cgroup is the container\'s own on the host', apply: inOwnCgroup },
  { name: 'sysctl', why: 'they would be set for the host, or be refused', apply: without('linux', 'sysctl') },
  { name: 'hooks', why: 'they are programs of the local engine', apply: without('hooks') },
  { name: 'terminal', why: 'a service has no terminal', apply: withoutTerminal },
  { name: 'binds', why: 'the operator mounts something else there', apply: withoutLocalBinds },
  { name: 'files', why: 'they are files of the local engine', apply: withoutEngineFiles, loses: isNoUsualFile },
  { name: 'rlimits', why: 'root of the host cannot go beyond', apply: withinLimits, loses: always },
  { name: 'seccomp', why: 'the host\'s kernel has no seccomp', apply: withinSeccomp, loses: always },
  { name: 'apparmor', why: 'the host has no such profile', apply: withoutApparmor, loses: always },
  { name: 'selinux', why: 'the host has no SELinux', apply: withoutSelinux, loses: always },
  { name: 'resources', why: 'the host\'s cgroups have no such limit', apply: withinCgroups, loses: always },
  { name: 'nspawn', why: 'systemd-nspawn refuses it', apply: (config, { engine }) => (engine === 'nspawn' ? forNspawn(config) : config), loses: always },
] as const satisfies readonly Rewrite[] // prettier-ignore

export type RewriteName = (typeof TABLE)[number]['name']
export const REWRITES: readonly RewriteName[] = TABLE.map(({ name }) => name)

export type Change = Difference & { readonly rewrite: string; readonly why: string; readonly loses: boolean }

/** All of the table but what is to be kept. Throws E_CONFIG. */
export function rewrite(
  config: JsonObject,
  around: Around,
  keep: readonly string[],
): { readonly config: JsonObject; readonly changes: readonly Change[] } {
  const changes: Change[] = []
  let now = config
  for (const { name, why, apply, loses } of TABLE as readonly Rewrite[]) {
    if (keep.includes(name)) continue
    const next = apply(now, around)
    for (const difference of differences(now, next))
      changes.push({ rewrite: name, why, loses: loses?.(difference) ?? false, ...difference })
    now = next
  }
  if (textAt(now, 'linux', 'cgroupsPath') === '')
    throw new VarveError('E_CONFIG', 'cannot keep linux.cgroupsPath: it is empty, and crun would take its caller\'s cgroup', {
      hint: 'leave out --keep cgroups',
    }) // prettier-ignore
  return { config: now, changes }
}

function without(...path: readonly string[]): Rewrite['apply'] {
  return (config) => put(config, path, undefined)
}

function released(config: JsonObject): JsonObject {
  const version = textAt(config, 'ociVersion') ?? ''
  return put(config, ['ociVersion'], version.replace(/-.*$/, ''))
}

function withoutUserNamespace(config: JsonObject): JsonObject {
  const plain = put(put(config, ['linux', 'uidMappings'], undefined), ['linux', 'gidMappings'], undefined)
  return withNamespaces(plain, (all) => all.filter(({ type }) => type !== 'user'))
}

function withoutPaths(config: JsonObject): JsonObject {
  return withNamespaces(config, (all) =>
    all.map((item) => (item['type'] === 'network' ? item : put(item, ['path'], undefined))),
  )
}

function inNetwork(config: JsonObject, { network }: Around): JsonObject {
  const own = { host: [], none: [{ type: 'network' }], path: [{ type: 'network', path: pathOf(network) }] }[
    network.kind
  ]
  return withNamespaces(config, (all) => [...all.filter(({ type }) => type !== 'network'), ...own])
}

function pathOf(network: Network): string {
  return network.kind === 'path' ? network.path : ''
}

function withNamespaces(
  config: JsonObject,
  change: (namespaces: readonly JsonObject[]) => readonly JsonObject[],
): JsonObject {
  const before = objectsAt(config, 'linux', 'namespaces')
  const after = change(before)
  return before.length + after.length === 0 ? config : put(config, ['linux', 'namespaces'], after)
}

function inOwnCgroup(config: JsonObject, { container }: Around): JsonObject {
  const path = at(config, 'linux', 'cgroupsPath')
  return path === undefined ? config : put(config, ['linux', 'cgroupsPath'], `/varve/${container}`)
}

function withoutTerminal(config: JsonObject): JsonObject {
  const plain = put(config, ['process', 'consoleSize'], undefined)
  return at(config, 'process', 'terminal') === undefined ? plain : put(plain, ['process', 'terminal'], false)
}

function withinSeccomp(config: JsonObject, { facts }: Around): JsonObject {
  return facts.seccomp ? config : put(config, ['linux', 'seccomp'], undefined)
}

/** Secrets, for instance; what engines mount into each container is missed by nobody. */
function isNoUsualFile({ path, now }: Difference): boolean {
  return (
    now === undefined &&
    !/^mounts\[\/(?:etc\/(?:hostname|hosts|resolv\.conf)|run\/\.containerenv|dev\/shm)\]/.test(path)
  )
}

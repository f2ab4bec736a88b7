// What a host is and holds, read from its records: tools, space, trees, containers and their generations.
import { escapeControls } from '../model/bytes.ts'
import { ENGINES, type Engine, type Facts } from '../model/engine.ts'
import { parseContainerName, type ContainerName } from '../model/names.ts'
import type { Service } from '../model/service.ts'
import { misread, number, treeIdOf, type Reply, type Words } from './replies.ts'

export type Generation = {
  readonly number: number
  /** Ids of trees, bottom first. */
  readonly stack: readonly string[]
  readonly rootfs: 'overlay' | 'copy'
  readonly config: string
  readonly parent: number
}

export type Container = {
  readonly name: ContainerName
  /** 0 where nothing was ever committed. */
  readonly current: number
  readonly next: number
  readonly mounted: boolean
  /** The link in the bundle directory names the current generation. */
  readonly linked: boolean
  readonly service: Service
  readonly generations: readonly Generation[]
}

type Read = Container & { service: Service & { persist: string[] }; generations: Generation[] }

export type Tools = {
  readonly tar: 'gnu' | 'busybox' | 'none'
  /** Commands without which nothing goes. */
  readonly missing: readonly string[]
  readonly has: (
    tool:
      | 'zstd'
      | 'xz'
      | 'gzip'
      | 'xz_x86'
      | 'getfattr'
      | 'flock'
      | 'perl'
      | 'python3'
      | 'dd'
      | 'signatures'
      /** Bytes may follow a request, and another request them. */
      | 'inline'
      | 'runc'
      | 'crun'
      | 'podman'
      | 'systemd-nspawn'
      | 'attributes'
      | 'patch_from'
      | 'overlay',
  ) => boolean
  readonly filesystem: string
  readonly freeKib: number | undefined
  readonly freeInodes: number | undefined
  readonly memoryKib: number | undefined
  readonly kernel: string
  readonly machine: string
  readonly facts: Facts
}

export type Survey = {
  readonly tools: Tools
  /** Undefined where there is no store yet. */
  readonly epoch: string | undefined
  readonly trees: readonly string[]
  readonly containers: readonly Container[]
  /** Stacks of several trees that other containers stand on. */
  readonly stacks: readonly (readonly string[])[]
  /** Text that the operator's settings are kept as with the current generation of the container that was asked for. */
  readonly settings: string | undefined
}

/** Throws E_PROTO for a record that is not of the grammar. */
export function readSurvey({ records, payload }: Reply): Survey {
  const probe = new Map<string, string>()
  const trees: string[] = []
  const stacks: string[][] = []
  const containers = new Map<string, Read>()
  const generations = new Set<string>()
  let epoch: string | undefined
  for (const [kind, ...words] of records) {
    if (kind === 'probe' && words[0] === 'has') for (const name of (words[1] ?? '').split(',')) probe.set(name, 'yes')
    else if (kind === 'probe') probe.set(words[0] ?? '', words.slice(1).join(' '))
    else if (kind === 'epoch') epoch = words[0] === '-' ? undefined : epochOf(words[0])
    else if (kind === 'tree') trees.push(treeIdOf(words[0]))
    else if (kind === 'stack') stacks.push(stackOf(words[0]))
    else if (kind === 'container') {
      const container = containerOf(words)
      if (containers.has(container.name)) throw misread('it has a container twice')
      containers.set(container.name, container)
    } else if (kind === 'service') ownerOf(words, containers).service = serviceOf(words)
    else if (kind === 'persist') ownerOf(words, containers).service.persist.push(words[1] ?? '')
    else if (kind === 'generation') {
      const container = ownerOf(words, containers)
      const generation = generationOf(words)
      const key = `${container.name} ${generation.number}`
      if (generations.has(key)) throw misread('it has a generation twice')
      generations.add(key)
      container.generations.push(generation)
    } else throw misread('it has a record of an unknown kind')
  }
  for (const container of containers.values()) container.generations.sort((a, b) => a.number - b.number)
  return {
    tools: toolsOf(probe),
    epoch,
    trees,
    containers: [...containers.values()],
    stacks,
    settings: settingsOf(payload),
  }
}

function ownerOf([name]: Words, containers: ReadonlyMap<string, Read>): Read {
  const container = containers.get(name ?? '')
  if (container === undefined) throw misread('a record has no container')
  return container
}

function epochOf(text: string | undefined): string {
  if (text === undefined || !/^[0-9a-f]{32}$/.test(text)) throw misread('its epoch is none')
  return text
}

/** NAME current N next N mounted yes|no linked yes|no */
function containerOf(words: Words): Read {
  const [name = '', , current, , next, , mounted, , linked] = words
  return {
    name: nameOf(name),
    current: number(current),
    next: number(next),
    mounted: mounted === 'yes',
    linked: linked === 'yes',
    service: {
      wanted: false,
      boot: false,
      stopSeconds: 0,
      switching: false,
      restarting: false,
      runs: undefined,
      persist: [],
    },
    generations: [],
  }
}

/** NAME want up|down boot yes|no stop N switching yes|no|now runs N PID SECONDS ENGINE */
function serviceOf(words: Words): Read['service'] {
  const [, , want, , boot, , stop, , switching, , generation, pid, since, engine] = words
  const run = number(generation)
  return {
    wanted: want === 'up',
    boot: boot === 'yes',
    stopSeconds: number(stop),
    switching: switching !== 'no',
    restarting: switching === 'now',
    runs:
      run === 0
        ? undefined
        : { generation: run, pid: number(pid), since: new Date(number(since) * 1000), engine: engineOf(engine) },
    persist: [],
  }
}

export function engineOf(text: string | undefined): Engine {
  const engine = ENGINES.find((known) => known === text)
  if (engine === undefined) throw misread('it names an engine that there is not')
  return engine
}

function nameOf(text: string): ContainerName {
  try {
    return parseContainerName(text)
  } catch {
    throw misread(`"${escapeControls(text.slice(0, 80), 0x7e)}" is no container name`)
  }
}

/** NAME N stack ID,ID rootfs MODE config SHA256 parent N */
function generationOf(words: Words): Generation {
  const [, own, , tree, , rootfs, , config, , parent] = words
  if (rootfs !== 'overlay' && rootfs !== 'copy') throw misread('a generation has an unknown kind of root filesystem')
  return { number: number(own), stack: stackOf(tree), rootfs, config: treeIdOf(config), parent: number(parent) }
}

function stackOf(text: string | undefined): string[] {
  return (text ?? '').split(',').map(treeIdOf)
}

function toolsOf(probe: ReadonlyMap<string, string>): Tools {
  const tar = probe.get('tar')
  const count = (key: string): number | undefined =>
    /^[0-9]{1,15}$/.test(probe.get(key) ?? '') ? Number(probe.get(key)) : undefined
  return {
    tar: tar === 'gnu' || tar === 'busybox' ? tar : 'none',
    missing: (probe.get('missing') ?? '-') === '-' ? [] : (probe.get('missing') ?? '').split(','),
    has: (tool) => probe.get(tool) === 'yes',
    filesystem: probe.get('filesystem') ?? '-',
    freeKib: count('free_kib'),
    freeInodes: count('free_inodes'),
    memoryKib: count('memory_kib'),
    kernel: probe.get('kernel') ?? '-',
    machine: probe.get('machine') ?? '-',
    facts: factsOf(probe),
  }
}

const CGROUPS = ['v1', 'v2', 'hybrid'] as const

function factsOf(probe: ReadonlyMap<string, string>): Facts {
  const list = (key: string): string[] =>
    (probe.get(key) ?? '-').split(',').filter((word) => word !== '-' && word !== '')
  const limits = list('limits').flatMap((word) => {
    const [, name = '', most = ''] = /^([A-Z]{1,12})=([0-9]{1,20})$/.exec(word) ?? []
    return name === '' ? [] : [[name, BigInt(most)] as const]
  })
  return {
    cgroup: CGROUPS.find((version) => version === probe.get('cgroup')) ?? 'none',
    controllers: new Set(list('controllers')),
    seccomp: probe.get('seccomp') === 'yes',
    apparmor: probe.get('apparmor') === 'yes',
    selinux: probe.get('selinux') === 'yes',
    limits: new Map(limits),
    files: new Set(list('files').map((name) => `/etc/${name}`)),
  }
}

/** The value of an annotation, as JSON has it. */
function settingsOf(payload: Buffer | undefined): string | undefined {
  if (payload === undefined) return undefined
  try {
    const text: unknown = JSON.parse(payload.toString('utf8'))
    if (typeof text === 'string') return text
  } catch {
    // told below
  }
  throw misread('the settings of the container are no text')
}

// What a host is and holds, read from its records: tools, space, trees, containers and their generations.
import { escapeControls } from '../model/bytes.ts'
import { parseContainerName, type ContainerName } from '../model/names.ts'
import { misread, number, treeIdOf, type Words } from './replies.ts'

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
  readonly generations: readonly Generation[]
}

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
}

export type Survey = {
  readonly tools: Tools
  /** Undefined where there is no store yet. */
  readonly epoch: string | undefined
  readonly trees: readonly string[]
  readonly containers: readonly Container[]
  /** Stacks of several trees that other containers stand on. */
  readonly stacks: readonly (readonly string[])[]
}

/** Throws E_PROTO for a record that is not of the grammar. */
export function readSurvey(records: readonly Words[]): Survey {
  const probe = new Map<string, string>()
  const trees: string[] = []
  const stacks: string[][] = []
  const containers = new Map<string, Container & { generations: Generation[] }>()
  const generations = new Set<string>()
  let epoch: string | undefined
  for (const [kind, ...words] of records) {
    if (kind === 'probe') probe.set(words[0] ?? '', words.slice(1).join(' '))
    else if (kind === 'epoch') epoch = words[0] === '-' ? undefined : epochOf(words[0])
    else if (kind === 'tree') trees.push(treeIdOf(words[0]))
    else if (kind === 'stack') stacks.push(stackOf(words[0]))
    else if (kind === 'container') {
      const container = containerOf(words)
      if (containers.has(container.name)) throw misread('it has a container twice')
      containers.set(container.name, container)
    } else if (kind === 'generation') {
      const container = containers.get(words[0] ?? '')
      if (container === undefined) throw misread('a generation has no container')
      const generation = generationOf(words)
      const key = `${container.name} ${generation.number}`
      if (generations.has(key)) throw misread('it has a generation twice')
      generations.add(key)
      container.generations.push(generation)
    } else throw misread('it has a record of an unknown kind')
  }
  for (const container of containers.values()) container.generations.sort((a, b) => a.number - b.number)
  return { tools: toolsOf(probe), epoch, trees, containers: [...containers.values()], stacks }
}

function epochOf(text: string | undefined): string {
  if (text === undefined || !/^[0-9a-f]{32}$/.test(text)) throw misread('its epoch is none')
  return text
}

/** NAME current N next N mounted yes|no linked yes|no */
function containerOf(words: Words): Container & { generations: Generation[] } {
  const [name = '', , current, , next, , mounted, , linked] = words
  return {
    name: nameOf(name),
    current: number(current),
    next: number(next),
    mounted: mounted === 'yes',
    linked: linked === 'yes',
    generations: [],
  }
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
  }
}

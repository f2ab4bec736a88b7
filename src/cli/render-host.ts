// What a host holds and whether it is whole, as text for a person.
import type { ContainerStatus, LayerStatus, Status } from '../verbs/status.ts'
import type { Verified } from '../verbs/verify.ts'
import { amount, table } from './words.ts'

export function status(detailed: boolean): (status: Status) => string {
  return ({ host, store, trees, freeBytes, disk, containers }) => {
    if (containers.length === 0) return `${host} holds no containers\n`
    const rows = containers.map((container) => [
      container.name,
      container.current === 0 ? '-' : String(container.current),
      String(container.layers.length),
      container.entries === null ? '-' : String(container.entries),
      amount(container.disk.size),
      amount(container.disk.shared),
      amount(container.disk.alone),
      stateOf(container),
    ])
    const head = ['CONTAINER', 'GENERATION', 'LAYERS', 'ENTRIES', 'SIZE', 'SHARED', 'ALONE', 'STATE']
    const more = detailed ? containers.map(detailsOf).join('') : sharedText(containers)
    const extra = (['older', 'unused'] as const)
      .filter((kind) => disk[kind] > 0)
      .map((kind) => `, ${amount(disk[kind])} ${kind === 'older' ? 'for older generations' : 'that gc frees'}`)
    return (
      `${table([head, ...rows])}${driftText({ host, containers })}${more}` +
      `${trees} ${trees === 1 ? 'tree' : 'trees'} in ${store} on ${host}: ${amount(disk.total)}${extra.join('')}${freeBytes === undefined ? '' : `, ${amount(freeBytes)} free`}\n` +
      savedText(disk)
    )
  }
}

function savedText({ flattened, saved }: Status['disk']): string {
  const percent = flattened > 0 ? Math.round((saved / flattened) * 100) : 0
  return saved > 0
    ? `without sharing the containers would take ${amount(flattened)}: ${amount(saved)} saved, ${percent} %\n`
    : `without sharing the containers would take ${amount(flattened)}: nothing saved\n`
}

function stateOf({ current, drift, running, service }: ContainerStatus): string {
  if (current === 0) return 'nothing committed'
  const { runs, boot } = service
  const since = runs?.since.toISOString().replace(/\.000Z$/, 'Z')
  const runsText =
    runs === undefined ? 'runs, not started by varve' : `runs ${runs.generation} on ${runs.engine} since ${since}`
  return [
    ...(drift.length > 0 ? ['drift'] : []),
    ...(service.restarting ? ['is being restarted'] : []),
    ...(running.length > 0 ? [runsText] : []),
    ...(boot ? ['starts at boot'] : []),
  ].join(', ')
}

function driftText({ host, containers }: Pick<Status, 'host' | 'containers'>): string {
  const lines = containers.flatMap(({ name, drift }) => drift.map(({ message }) => `drift: ${name}: ${message}\n`))
  const kinds = new Set(containers.flatMap(({ drift }) => drift.map(({ kind }) => kind)))
  if ((['mount', 'link', 'layer'] as const).some((kind) => kinds.has(kind)))
    lines.push(`  to mend it: varve push SOURCE ${host}:NAME, with the same source\n`)
  if (kinds.has('running')) lines.push(`  to run the current generation: varve restart ${host}:NAME\n`)
  if (kinds.has('stopped') || kinds.has('restart')) lines.push(`  to run it: varve start ${host}:NAME\n`)
  return lines.join('')
}

/** Each pair once, with the more that one of them says of the other: of what only older generations need the other says nothing. */
function sharedText(containers: readonly ContainerStatus[]): string {
  const pairs = new Map<string, { names: string; bytes: number; layers: number }>()
  for (const { name, sharedWith } of containers)
    for (const { container, bytes, layers } of sharedWith) {
      const names = [name, container].toSorted().join(' and ')
      if (bytes > (pairs.get(names)?.bytes ?? 0)) pairs.set(names, { names, bytes, layers })
    }
  const shown = [...pairs.values()].toSorted((a, b) => b.bytes - a.bytes).slice(0, MOST)
  const lines = shown.map(
    ({ names, bytes, layers }) => `${names} share ${amount(bytes)}${layersText(layers)}
`,
  )
  return `${lines.join('')}${more(pairs.size - shown.length, 'pairs')}`
}

function detailsOf(container: ContainerStatus): string {
  const { name, current, generations, layers, sharedWith, disk } = container
  const kept = generations.map(({ number, rootfs, stack }) => [
    String(number),
    number === current ? 'current' : number > current ? 'given up' : '',
    rootfs,
    stack.map((id) => id.slice(0, 12)).join(' '),
  ])
  const shares = sharedWith.map((shared) => `shares ${amount(shared.bytes)}${layersText(shared.layers)} with ${shared.container}\n`) // prettier-ignore
  return (
    `${persistText(container)}${shares.join('')}alone: ${amount(disk.size - disk.shared)} of the current generation, ${amount(disk.older)} of older ones, ${amount(disk.writable)} writable\n` +
    table([['GENERATION', 'STATE', 'ROOTFS', 'LAYERS'], ...kept]) +
    table([['LAYER', 'ENTRIES', 'SIZE', 'ALSO IN'], ...layers.map((layer) => layerRow(layer, name))])
  )
}

function persistText({ service: { persist } }: ContainerStatus): string {
  return persist.length > 0 ? `persisted: ${persist.join(', ')}\n` : ''
}

function layerRow({ id, entries, diskBytes, containers }: LayerStatus, name: string): string[] {
  const others = containers.filter((other) => other !== name)
  return [id.slice(0, 12), String(entries ?? '-'), diskBytes === null ? 'gone' : amount(diskBytes), others.join(' ')]
}

function layersText(layers: number): string {
  return layers === 0 ? '' : ` (${layers} ${layers === 1 ? 'layer' : 'layers'})`
}

const MOST = 10

function more(count: number, what: string): string {
  return count > 0 ? `and ${count} more ${what} (--json lists all)\n` : ''
}

/** A line for a generation; of one that is not good its bad layers, and of each of them once what differs. */
export function verified({ host, containers }: { host: string; containers: readonly Verified[] }): string {
  if (containers.length === 0) return `${host} holds no containers\n`
  const generations = new Map<string, Verified[]>()
  for (const found of containers) {
    const key = `${found.container} ${found.generation}`
    generations.set(key, [...(generations.get(key) ?? []), found])
  }
  const told = new Set<string>()
  return [...generations.values()].map((stack) => generationText(stack, { host, told })).join('')
}

function generationText(stack: readonly Verified[], { host, told }: { host: string; told: Set<string> }): string {
  const [first] = stack
  if (first === undefined) return ''
  const { container, generation, current } = first
  const bad = stack.filter(({ state }) => state !== 'good')
  const name = `${container} generation ${generation}${current ? ' (current)' : ''}`
  const layers = `${stack.length} ${stack.length === 1 ? 'layer' : 'layers'}`
  if (bad.length === 0) return `${name}: good (${layers})\n`
  const lines = bad.map((layer) => layerText(layer, told))
  const setAside = bad.every(({ state, repaired }) => state === 'missing' || repaired)
  const hint = setAside
    ? '  to heal it: push the source again\n'
    : `  to heal it: varve verify --repair ${host}:${container}, then push the source again\n`
  return `${name}: ${bad.length} of ${layers} not good\n${lines.join('')}${hint}`
}

function layerText({ tree, state, differences, repaired }: Verified, told: Set<string>): string {
  const line = `  layer ${tree.slice(0, 12)}: ${state}${repaired ? ', set aside' : ''}`
  if (told.has(tree)) return `${line} (as above)\n`
  told.add(tree)
  const shown = differences.slice(0, 20).map((difference) => `    ${difference}\n`)
  const left = differences.length - shown.length
  return `${line}\n${shown.join('')}${left > 0 ? `    and ${left} more\n` : ''}`
}

// status: which containers a host holds, what they share and take on its disk, and what is not as it was committed.
import type { Container } from '../host/survey.ts'
import { readUsage, type Used } from '../host/usage.ts'
import { hostText, type ContainerName, type HostRef } from '../model/names.ts'
import { sharing, type ContainerDisk, type Needs, type Shares, type StoreDisk } from '../model/usage.ts'
import { VarveError } from '../errors.ts'
import { connect, type Context } from './context.ts'

export type Status = {
  readonly host: string
  readonly store: string
  readonly trees: number
  readonly freeBytes: number | undefined
  readonly disk: StoreDisk
  readonly containers: readonly ContainerStatus[]
}

export type ContainerStatus = Container & {
  readonly bundle: string
  /** Of the current generation, bottom first. */
  readonly layers: readonly LayerStatus[]
  /** What the container sees of them; null where no push has told. */
  readonly entries: number | null
  readonly contentBytes: number | null
  readonly disk: ContainerDisk
  /** Who has most in common with it first. */
  readonly sharedWith: readonly Shares[]
  /** Numbers of generations that some process has as its root. */
  readonly running: readonly number[]
  readonly drift: readonly Drift[]
}

export type LayerStatus = {
  readonly id: string
  /** Null where the host has it no more. */
  readonly entries: number | null
  /** On disk, what it shares included. */
  readonly diskBytes: number | null
  readonly containers: readonly string[]
}

/** What is not as the current generation says. */
export type Drift = {
  readonly kind: 'mount' | 'link' | 'layer' | 'running' | 'stopped' | 'restart'
  readonly message: string
}

/** Throws E_NO_CONTAINER, and what the connection has to say. */
export async function status(
  at: { host: HostRef; container: ContainerName | undefined },
  context: Context,
): Promise<Status> {
  await using connected = await connect(at.host, context)
  // all containers, even for one: it shares with the others
  const [survey, { records }] = await Promise.all([connected.survey(undefined), connected.session.ask(['usage'])])
  const used = readUsage(records)
  const shared = sharing(
    used,
    survey.containers.map((container) => needsOf(container, used)),
  )
  const containers = shared.containers
    .filter(({ name }) => at.container === undefined || name === at.container)
    .map(({ container, current, seen, disk, sharedWith }): ContainerStatus => {
      const bundle = `${context.bundles}/${container.name}`
      const layers = current.map((id) => layerStatus(id, used, shared.containers))
      const running = used.running.get(container.name) ?? []
      const drift = [...driftOf(container, { bundle, layers, running })]
      const [entries, contentBytes] = [seen?.entries ?? null, seen?.bytes ?? null]
      return { ...container, bundle, layers, entries, contentBytes, disk, sharedWith, running, drift }
    })
  if (at.container !== undefined && containers.length === 0)
    throw new VarveError(
      'E_NO_CONTAINER',
      `cannot show "${at.container}": ${hostText(at.host)} has no such container`,
      { hint: `varve status ${hostText(at.host)}` },
    )
  return {
    host: hostText(at.host),
    store: context.store,
    trees: survey.trees.length,
    freeBytes: survey.tools.freeKib === undefined ? undefined : survey.tools.freeKib * 1024,
    disk: shared.store,
    containers,
  }
}

function needsOf(container: Container, used: Used): Needs & { readonly container: Container } {
  const { name, current, generations } = container
  const stack = generations.find((generation) => generation.number === current)?.stack ?? []
  const [only] = stack
  const alone = stack.length === 1 ? used.trees.find(({ id }) => id === only) : undefined
  return {
    container,
    name,
    current: stack,
    all: new Set(generations.flatMap((generation) => generation.stack)),
    seen: alone ? { entries: alone.entries, bytes: alone.contentBytes } : used.seen.get(`${name} ${current}`),
  }
}

function layerStatus(id: string, used: Used, needs: readonly Needs[]): LayerStatus {
  const tree = used.trees.find((known) => known.id === id)
  return {
    id,
    entries: tree?.entries ?? null,
    diskBytes: tree?.diskBytes ?? null,
    containers: needs.filter(({ all }) => all.has(id)).map(({ name }) => name),
  }
}

function* driftOf(
  { current, mounted, linked, generations, service }: Container,
  { bundle, layers, running }: Pick<ContainerStatus, 'bundle' | 'layers' | 'running'>,
): Generator<Drift> {
  if (current === 0) return
  for (const { id, entries } of layers)
    if (entries === null) yield { kind: 'layer', message: `layer ${id.slice(0, 12)} is not on the host` }
  if (!mounted && generations.find(({ number }) => number === current)?.rootfs === 'overlay')
    yield { kind: 'mount', message: `generation ${current} is not mounted` }
  if (!linked) yield { kind: 'link', message: `${bundle} does not lead to generation ${current}` }
  if (service.restarting) return // what runs is changing at this moment
  if (service.switching) yield { kind: 'restart', message: 'a restart was cut short' }
  else if (service.wanted && running.length === 0) yield { kind: 'stopped', message: 'it should run, and does not' }
  for (const number of running)
    if (number !== current) yield { kind: 'running', message: `generation ${number} still runs` }
}

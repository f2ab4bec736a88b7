// push: the source's tree becomes the container's current generation, for as few bytes as the host allows.
import { setTimeout as sleep } from 'node:timers/promises'
import { VarveError, hasCode } from '../errors.ts'
import type { Pace } from '../delta/effort.ts'
import type { Encoded } from '../delta/encode.ts'
import { startPool } from '../delta/pool.ts'
import type { Survey } from '../host/survey.ts'
import type { Changes, Plan } from '../model/plan.ts'
import { CACHE_LIMIT } from './cache.ts'
import { connectDuring, manifestOf, type Context } from './context.ts'
import { activateOn, askReceive, retrying, uploadTo, type MakeDelta } from './deliver.ts'
import { deltaOf, keepSent } from './delta.ts'
import { coresHere, paceFor, paceOf } from './pace.ts'
import {
  changesOf,
  isCurrent,
  nowOf,
  plansFor,
  wantedOn,
  type Asked,
  type Reuse,
  type ShipOptions,
  type Shipment,
  type Wanted,
} from './prepare.ts'
import { keepPersisted, keepsPersisted } from './persist.ts'
import { disposing, readSource, type ReadSource } from './read-source.ts'
import { Stopwatch, reportOf, type Report, type Shipped } from './report.ts'
import { readyFor, runOn, unfinished, type RunOptions, type Started } from './run.ts'
import { seenSize } from './stack.ts'

export type PushOptions = ShipOptions & {
  /** How what is current then is to run; it is left as it is, when undefined. */
  readonly restart: RunOptions | undefined
}

/**
 * Throws what the source, the host or the connection has to say; the old generation stays current then. A connection that
 * was lost is made again, with growing patience, and the delta goes on where it was.
 */
export async function push(options: PushOptions, context: Context): Promise<Report> {
  const watch = new Stopwatch()
  using manifest = manifestOf(context)
  const reading = watch.time('scan', () => readSource(options.source, manifest, context))
  await using _ = disposing(reading)
  await using pool = startPool(coresHere())
  const spent = { sent: 0, received: 0 }
  return await retrying(context, (again) =>
    pushOnce({ options, context: again, manifest, watch, pool }, reading, spent),
  )
}

async function pushOnce(
  given: Pick<At, 'options' | 'context' | 'manifest' | 'watch' | 'pool'> & { readonly options: PushOptions },
  reading: Promise<ReadSource>,
  spent: { sent: number; received: number },
): Promise<Report> {
  const { options, context, manifest, watch } = given
  await using opened = await connectDuring(reading, options.target, context)
  const before = { ...spent }
  const traffic = (): typeof spent => {
    const { sent, received } = opened.traffic()
    return Object.assign(spent, { sent: before.sent + sent, received: before.received + received })
  }
  const connected = { ...opened, traffic }
  try {
    const survey = await connected.survey(options.target.container)
    const at: At = { ...given, source: await reading, connected, survey, now: nowOf(survey, options.target) }
    const wanted = await watch.time('plan', () => wantedOn(at))
    const restart = options.restart ?? unfinished(at.now, context)
    const { text, engine } = wanted.bundle
    if (restart !== undefined) await readyFor({ config: text('rootfs'), engine, rootfs: wanted.rootfs }, { ...at.options.target, connected, restart }) // prettier-ignore
    const done = isCurrent(wanted, at) ? await keepCurrent(wanted, at) : await shipOrCopy(wanted, at)
    manifest.contents.commit(CACHE_LIMIT)
    const started = restart && (await watch.time('run', () => switchTo(done.generation, at, restart)))
    context.onEvent({ kind: 'step', step: 'done' })
    return reportOf(at, { watch, ...done, started })
  } finally {
    traffic()
  }
}

async function switchTo(expected: number, at: At, options: RunOptions): Promise<Started> {
  const { container } = at.options.target
  return runOn(at.connected, { container, mode: 'switch', expected }, { options, context: at.context })
}

type At = Asked & { readonly watch: Stopwatch }
type Done = Omit<Parameters<typeof reportOf>[1], 'watch' | 'started'>

async function keepCurrent(wanted: Wanted, { connected, now, options }: At): Promise<Done> {
  const mounted = now.generation?.rootfs === 'copy' || now.container?.mounted === true
  if (!mounted || now.container?.linked !== true) await connected.session.ask(['converge', options.target.container])
  return { wanted, shipped: [], changes: undefined, generation: now.generation?.number ?? 0 }
}

/** Where the user left the choice and the host's kernel refuses an overlay in its store, a copy does. */
async function shipOrCopy(wanted: Wanted, at: At): Promise<Done> {
  const next = at.now.container?.next ?? 1
  try {
    return await ship(wanted, next, at)
  } catch (error) {
    if (!hasCode(error, 'E_OVERLAY') || at.options.rootfs !== undefined) throw error
    at.context.onEvent({ kind: 'warning', code: 'W_OVERLAY', message: `${error.message}: made a copy instead` })
    const again = { ...at, survey: await at.connected.survey(at.options.target.container) }
    return ship(await wantedOn(again, 'copy'), next + 1, again)
  }
}

async function ship(wanted: Wanted, number: number, at: At): Promise<Done> {
  let counted: Changes | undefined
  const changes = (): Changes => (counted ??= changesOf(wanted, at))
  const held = wanted.layers.filter((layer) => at.survey.trees.includes(layer.id))
  // a tree that is not built in this push is read before the switch; a damaged one is set aside
  const read = held.map((layer) => at.connected.session.ask(['repair', layer.id]))
  await at.watch.time('apply', () => Promise.all(read))
  const { shipped, switched } = await send(wanted, { number, meanwhile: changes }, at)
  at.context.onEvent({ kind: 'step', step: 'apply' })
  try {
    await at.watch.time('apply', () => switched ?? activate(wanted, number, at))
    return { wanted, shipped, changes: changes(), generation: number }
  } catch (error) {
    if (!hasCode(error, 'E_BASE_MISSING')) throw error
    const survey = await at.connected.survey(at.options.target.container)
    const again = await send(wanted, { number, meanwhile: changes }, { ...at, survey })
    await at.watch.time('apply', () => again.switched ?? activate(wanted, number, at))
    return { wanted, shipped: [...shipped, ...again.shipped], changes: changes(), generation: number }
  }
}

/** `meanwhile` is what is computed while the host has work to do. */
type Next = { readonly number: number; readonly meanwhile: () => unknown }
/** `switched` is where the switch was asked for as well. */
type Sent = { readonly shipped: Shipped[]; readonly switched: Promise<void> | undefined }

/** Sends what the host lacks; where that does not make the trees, again, relying on less each time. */
async function send(wanted: Wanted, next: Next, at: At): Promise<Sent> {
  let now = at
  for (let reuse: Reuse = 'all'; ;) {
    try {
      return await sendOnce(wanted, { ...next, reuse }, now)
    } catch (error) {
      if (reuse === 'nothing' || !(hasCode(error, 'E_BASE_MISSING') || hasCode(error, 'E_HASH'))) throw error
      reuse = reuse === 'all' && error.code === 'E_HASH' ? 'whole' : 'nothing'
      at.context.onEvent({
        kind: 'warning',
        code: 'W_HEAL',
        message: `the host does not hold what it should (${error.message}): sending ${reuse === 'whole' ? 'whole files' : 'everything'}`,
      })
      now = { ...at, survey: await at.connected.survey(at.options.target.container) }
    }
  }
}

async function sendOnce(
  wanted: Wanted,
  { number, meanwhile, reuse }: Next & { readonly reuse: Reuse },
  at: At,
): Promise<Sent> {
  at.context.onEvent({ kind: 'step', step: 'plan' })
  const shipments = await at.watch.time('plan', () => plansFor(wanted, at, reuse))
  checkSpace(
    shipments.map(({ plan }) => plan),
    at.survey,
  )
  const shipped: Shipped[] = []
  const received: Promise<unknown>[] = []
  for (const shipment of shipments) {
    at.context.onEvent({ kind: 'step', step: 'send' })
    const { delta, taken } = await sendLayer(shipment, at, reuse)
    taken.catch(() => {}) // what goes wrong with the first is told below
    received.push(taken)
    shipped.push({ plan: shipment.plan, delta })
  }
  // a round trip less, where the host reads no further than a request goes, and nothing else comes before the switch
  const together = received.length > 0 && at.survey.tools.has('inline') && keepsPersisted(at)
  const switched = together ? activate(wanted, number, at, { unheard: true }) : undefined
  switched?.catch(() => {}) // told behind what the trees have to tell
  at.context.onEvent({ kind: 'step', step: 'apply' })
  await at.watch.time('apply', async () => {
    // the next push will look into these trees, and now the host has work to do
    await sleep(0)
    at.manifest.index(wanted.layers.map(({ id }) => id))
    meanwhile()
    await keepSent(shipments, at)
    for (const taken of received) await taken
  })
  return { shipped, switched }
}

/** While the host takes one layer, the next is on its way. */
async function sendLayer(
  shipment: Shipment,
  at: At,
  reuse: Reuse,
): Promise<{ delta: number; taken: Promise<unknown> }> {
  const { plan } = shipment
  const { session, direct } = at.connected
  const made = (pace: Pace): Promise<Encoded> => at.watch.time('delta', () => deltaOf(shipment, at, { pace, reuse }))
  const receive = ['receive', plan.tree, plan.base ?? '-']
  // BusyBox head reads ahead, beyond a frame
  if (direct && at.survey.tools.tar === 'gnu') {
    const { chunks } = await made(paceFor(at))
    const { size } = await at.watch.time('apply', () => session.stream(receive, chunks))
    return { delta: size, taken: Promise.resolve() }
  }
  let delta: Encoded | undefined
  const make = async (...[begun, note]: Parameters<MakeDelta>): ReturnType<MakeDelta> => {
    delta = await made(paceOf(begun, at, note))
    return delta.chunks
  }
  const upload = await at.watch.time('transfer', () => uploadTo(at, { tree: plan.tree, base: plan.base, make }))
  return { delta: upload.size, taken: askReceive(at.connected, plan, upload, receiveWords(delta as Encoded)) }
}

function receiveWords({ codec, raw, frames }: Encoded): string[] {
  return [codec(), String(raw()), ...frames().map((frame) => `${frame.size}:${frame.raw}`)]
}

async function activate(
  wanted: Wanted,
  number: number,
  at: At,
  how: { readonly unheard?: boolean } = {},
): Promise<void> {
  await keepPersisted(wanted, at)
  await activateOn(at.connected, {
    ...how,
    container: at.options.target.container,
    store: at.context.store,
    now: at.now,
    number,
    stack: wanted.layers.map((layer) => layer.id),
    rootfs: wanted.rootfs,
    config: (path) => Buffer.from(wanted.bundle.text(path)),
    configSha256: wanted.configSha256,
    seen: seenSize(wanted.layers, at.manifest),
  })
}

function againBytes({ steps, tree }: Plan): number {
  return steps.reduce((sum, step) => sum + (step.kind === 'copy' && step.from.tree === tree ? step.entry.size : 0), 0)
}

/** New contents take their blocks twice while the delta lies beside them; 64 MiB are kept free. */
function checkSpace(plans: readonly Plan[], { tools }: Survey): void {
  if (plans.length === 0) return
  const sum = (count: (plan: Plan) => number): number => plans.reduce((total, plan) => total + count(plan), 0)
  const needKib =
    Math.ceil(sum((plan) => plan.bytes.changed * 2 + againBytes(plan)) / 1024) +
    sum((plan) => plan.steps.length) * 4 +
    65_536
  const inodes = sum((plan) => plan.entries) + 1024
  if (tools.freeKib !== undefined && tools.freeKib < needKib)
    throw new VarveError(
      'E_NOSPACE',
      `cannot send the delta: the store has ${tools.freeKib} KiB free and needs ${needKib} KiB`,
      { hint: 'varve gc HOST frees what no generation needs' },
    )
  if (tools.freeInodes !== undefined && tools.freeInodes < inodes)
    throw new VarveError(
      'E_NOINODES',
      `cannot send the delta: the store has ${tools.freeInodes} inodes free and needs ${inodes}`,
      { hint: 'varve gc HOST frees what no generation needs' },
    )
}

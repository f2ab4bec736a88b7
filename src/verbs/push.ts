// push: the source's tree becomes the container's current generation, for as few bytes as the host allows.
import { VarveError, hasCode } from '../errors.ts'
import type { Survey } from '../host/survey.ts'
import type { Plan } from '../model/plan.ts'
import type { Manifest } from '../store/manifest.ts'
import { connect, manifestOf, type Connected, type Context } from './context.ts'
import { deltaOf, isCurrent, nowOf, planFor, wantedOn, type Now, type ShipOptions, type Wanted } from './prepare.ts'
import { readSource, type ReadSource } from './read-source.ts'
import { Stopwatch, reportOf, type Report } from './report.ts'

/** Throws what the source, the host or the connection has to say; the old generation stays current then. */
export async function push(options: ShipOptions, context: Context): Promise<Report> {
  const watch = new Stopwatch()
  using manifest = manifestOf(context)
  await using source = await watch.time('scan', () => readSource(options.source, manifest, context))
  await using connected = await connect(options.target.host, context)
  const survey = await connected.survey(options.target.container)
  const wanted = wantedOn(survey, source, options, manifest)
  const now = nowOf(survey, options.target)
  const shipped = isCurrent(wanted, now, { survey, options })
    ? await keepCurrent(options, { connected, now })
    : await ship(options, { context, manifest, watch, source, connected, survey, now, wanted })
  context.onEvent({ kind: 'step', step: 'done' })
  return reportOf({ ...shipped, options, source, wanted, connected, now, watch, bundles: context.bundles })
}

type Shipped = { readonly plan: Plan | undefined; readonly delta: number; readonly generation: number }
type At = {
  context: Context
  manifest: Manifest
  watch: Stopwatch
  source: ReadSource
  connected: Connected
  survey: Survey
  now: Now
  wanted: Wanted
}

async function keepCurrent(
  options: ShipOptions,
  { connected, now }: { connected: Connected; now: Now },
): Promise<Shipped> {
  const mounted = now.generation?.rootfs === 'copy' || now.container?.mounted === true
  if (!mounted || now.container?.linked !== true) await connected.session.ask(['converge', options.target.container])
  return { plan: undefined, delta: 0, generation: now.generation?.number ?? 0 }
}

async function ship(options: ShipOptions, at: At): Promise<Shipped> {
  const held = at.survey.trees.includes(at.wanted.id)
  // a tree that is not built in this push is read before the switch; a damaged one is set aside
  if (held) await at.watch.time('apply', () => at.connected.session.ask(['repair', at.wanted.id]))
  const sent = held ? { plan: undefined, delta: 0 } : await send(options, at)
  at.context.onEvent({ kind: 'step', step: 'apply' })
  try {
    return { ...sent, generation: await at.watch.time('apply', () => activate(options, at)) }
  } catch (error) {
    if (!hasCode(error, 'E_BASE_MISSING')) throw error
    const again = await send(options, { ...at, survey: await at.connected.survey(options.target.container) })
    return { ...again, generation: await at.watch.time('apply', () => activate(options, at)) }
  }
}

/** Sends what the host lacks; where its trees turn out damaged or gone, once more without relying on them. */
async function send(options: ShipOptions, at: At): Promise<{ plan: Plan; delta: number }> {
  try {
    return await sendOnce(options, at, true)
  } catch (error) {
    if (!hasCode(error, 'E_BASE_MISSING') && !hasCode(error, 'E_HASH')) throw error
    at.context.onEvent({
      kind: 'warning',
      code: 'W_HEAL',
      message: `the host does not hold what it should (${error.message}): sending everything`,
    })
    return sendOnce(options, { ...at, survey: await at.connected.survey(options.target.container) }, false)
  }
}

async function sendOnce(options: ShipOptions, at: At, reuse: boolean): Promise<{ plan: Plan; delta: number }> {
  at.context.onEvent({ kind: 'step', step: 'plan' })
  const plan = await at.watch.time('plan', () => planFor(at.wanted, { ...at, options, reuse }))
  checkSpace(plan, at.survey)
  at.context.onEvent({ kind: 'step', step: 'send' })
  const delta = deltaOf(plan, at)
  const { session, direct } = at.connected
  const receive = ['receive', plan.tree, plan.base ?? '-']
  // BusyBox head reads ahead, beyond a frame
  if (direct && at.survey.tools.tar === 'gnu') {
    const { size } = await at.watch.time('apply', () => session.stream(receive, delta.chunks))
    return { plan, delta: size }
  }
  const upload = await at.watch.time('transfer', () => session.upload(delta.chunks))
  at.context.onEvent({ kind: 'step', step: 'apply' })
  const words = [upload.name, String(upload.size), upload.sha256, delta.codec, String(delta.raw())]
  await at.watch.time('apply', () => session.ask([...receive, ...words]))
  return { plan, delta: upload.size }
}

/** Where the user left the choice and the host's kernel refuses an overlay in its store, a copy does. */
async function activate(options: ShipOptions, at: At): Promise<number> {
  const next = at.now.container?.next ?? 1
  try {
    return await activateAs(at.wanted.rootfs, next, { options, at })
  } catch (error) {
    if (!hasCode(error, 'E_OVERLAY') || options.rootfs !== undefined) throw error
    at.context.onEvent({ kind: 'warning', code: 'W_OVERLAY', message: `${error.message}: made a copy instead` })
    return activateAs('copy', next + 1, { options, at })
  }
}

async function activateAs(
  rootfs: 'overlay' | 'copy',
  number: number,
  { options, at }: { options: ShipOptions; at: At },
): Promise<number> {
  const rootPath = `${at.context.store}/c/${options.target.container}/bundle/${number}/rootfs`
  const body = Buffer.from(at.wanted.config(rootPath))
  const expected = String(at.now.container?.current ?? 0)
  const words = [
    'activate',
    options.target.container,
    expected,
    String(number),
    at.wanted.id,
    rootfs,
    at.wanted.configSha256,
    String(body.length),
  ]
  await at.connected.session.ask(words, body)
  return number
}

/** New contents take their blocks twice while the delta lies beside them; 64 MiB are kept free. */
function checkSpace(plan: Plan, { tools }: Survey): void {
  const needKib = Math.ceil((plan.bytes.changed * 2) / 1024) + plan.steps.length * 4 + 65_536
  if (tools.freeKib !== undefined && tools.freeKib < needKib)
    throw new VarveError(
      'E_NOSPACE',
      `cannot send the delta: the store has ${tools.freeKib} KiB free and needs ${needKib} KiB`,
      { hint: 'varve gc HOST frees what no generation needs' },
    )
  if (tools.freeInodes !== undefined && tools.freeInodes > 0 && tools.freeInodes < plan.entries.total + 1024)
    throw new VarveError(
      'E_NOINODES',
      `cannot send the delta: the store has ${tools.freeInodes} inodes free and needs ${plan.entries.total + 1024}`,
      { hint: 'varve gc HOST frees what no generation needs' },
    )
}

// start, restart, stop: what is current runs on an engine of the host, or runs no more.
import { VarveError } from '../errors.ts'
import { number, wordOf, type Words } from '../host/replies.ts'
import { engineOf } from '../host/survey.ts'
import { escapeControls } from '../model/bytes.ts'
import type { Engine } from '../model/engine.ts'
import { hostText, type Target } from '../model/names.ts'
import type { Health } from '../model/service.ts'
import { connect, type Connected, type Context } from './context.ts'
import type { Now } from './prepare.ts'

type Rootfs = 'overlay' | 'copy'

export type RunOptions = {
  /** What the generation was made for, or the host has, when undefined. */
  readonly engine: Engine | undefined
  /** What is remembered, when undefined; so with `boot`. */
  readonly stopSeconds: number | undefined
  readonly boot: boolean | undefined
  readonly health: Health
  readonly healthSeconds: number
  /** `keep` carries on with what the generation before has written. */
  readonly upper: 'fresh' | 'keep'
}

/** As it ran before, by whatever health that is. */
export const RUN_AS_BEFORE: RunOptions = {
  engine: undefined,
  stopSeconds: undefined,
  boot: undefined,
  health: { kind: 'none' },
  healthSeconds: 1,
  upper: 'fresh',
}

export type Started = {
  readonly host: string
  readonly container: string
  readonly generation: number
  readonly engine: Engine
  /** ISO 8601. */
  readonly since: string
  /** From the stop of what ran before until this one was well; null where it ran already. */
  readonly downSeconds: number | null
  /** What ran before; 0 where nothing did. */
  readonly previous: number
  /** What `previous` wrote outside its persisted paths. */
  readonly wrote: Wrote | null
  /** How a boot starts it, where it is marked for that: a unit of systemd, or a line for who starts services. */
  readonly boot: { readonly unit: string } | { readonly line: string } | null
}

export type Wrote = {
  readonly files: number
  readonly bytes: number
  readonly removed: number
  readonly names: readonly string[]
}

export type Stopped = { readonly host: string; readonly container: string; readonly generation: number | null }

/** `switch` restarts only what is not current; `expected` 0 is whatever is. */
export type RunMode = { readonly mode: 'start' | 'restart' | 'switch'; readonly expected: number }

export async function start(target: Target, options: RunOptions, context: Context): Promise<Started> {
  await using connected = await connect(target.host, context)
  return await runOn(connected, { ...target, mode: 'start', expected: 0 }, { options, context })
}

export async function restart(target: Target, options: RunOptions, context: Context): Promise<Started> {
  await using connected = await connect(target.host, context)
  return await runOn(connected, { ...target, mode: 'restart', expected: 0 }, { options, context })
}

export async function stop(
  { target, stopSeconds }: { readonly target: Target; readonly stopSeconds: number | undefined },
  context: Context,
): Promise<Stopped> {
  await using connected = await connect(target.host, context)
  context.onEvent({ kind: 'step', step: 'run' })
  const { records } = await connected.session.ask(['stop', target.container, String(stopSeconds ?? '-')])
  context.onEvent({ kind: 'step', step: 'done' })
  const stopped = records.find((words) => words[0] === 'stopped')
  const where = { host: hostText(target.host), container: target.container }
  return { ...where, generation: stopped === undefined ? null : number(stopped[1]) }
}

/** Throws E_HEALTH where it is not well and what ran before runs again, E_START, E_NO_ENGINE, E_RUNNING, E_PORT. */
export async function runOn(
  connected: Connected,
  at: Pick<Target, 'container'> & RunMode,
  { options, context }: { readonly options: RunOptions; readonly context: Context },
): Promise<Started> {
  context.onEvent({ kind: 'step', step: 'run' })
  const { engine, stopSeconds, boot, health, healthSeconds, upper } = options
  const flag = boot === undefined ? '-' : boot ? 'yes' : 'no'
  const words = ['run', at.container, at.mode, String(at.expected), engine ?? '-', String(stopSeconds ?? '-'), flag]
  const { records, payload } = await connected.session.ask([...words, healthWord(health), String(healthSeconds), upper])
  const of = (kind: string): Words | undefined => records.find((record) => record[0] === kind)
  const failed = of('failed')
  if (failed !== undefined) {
    context.onEvent({ kind: 'log', text: payload?.toString('utf8') ?? '' })
    throw illness(failed, { connected, container: at.container, health })
  }
  for (const [, flag, at = ''] of records.filter((record) => record[0] === 'flag'))
    context.onEvent({ kind: 'warning', code: 'W_STORE', message: crippled(flag, at) })
  const ran = of('started') ?? of('ran')
  const done = {
    host: hostText(connected.host),
    container: at.container,
    generation: number(ran?.[1]),
    engine: engineOf(ran?.[2]),
    since: new Date(number(ran?.[3]) * 1000).toISOString(),
    downSeconds: ran?.[4] === undefined ? null : number(ran[4]) / 100,
    previous: number(of('was')?.[1] ?? '0'),
    wrote: wroteOf(records),
    boot: bootOf(of('boot')),
  }
  if (upper === 'keep' && done.previous !== 0 && done.previous !== done.generation)
    context.onEvent({
      kind: 'warning',
      code: 'W_UPPER',
      message: `generation ${done.generation} goes on with the writable layer of generation ${done.previous}: what was changed there hides what the push brought`,
    })
  return done
}

/** A restart that somebody began and did not end: the container may be down. */
export function unfinished({ container }: Now, { onEvent }: Context): RunOptions | undefined {
  if (container?.service.switching !== true) return undefined
  onEvent({ kind: 'warning', code: 'W_RESTART', message: 'a restart was cut short: it is done now' })
  return RUN_AS_BEFORE
}

/** The same as `readyOn` of what is to run by a config.json. With a network of its own it takes no port of the host. */
export async function readyFor(
  { config, engine, rootfs }: { readonly config: string; readonly engine: Engine | undefined; readonly rootfs: Rootfs },
  { connected, container, restart }: { readonly connected: Connected; readonly container: string; readonly restart: RunOptions }, // prettier-ignore
): Promise<void> {
  const { health } = restart
  const port = health.kind === 'tcp' && !/"type": "network"/.test(config) ? health.port : undefined
  await readyOn(connected, container, { engine: restart.engine ?? engine, port, health, rootfs })
}

/** What would stand against a start, before anything is sent. Throws E_NO_ENGINE, E_RUNNING, E_PORT. */
export async function readyOn(
  connected: Connected,
  container: string,
  at: Pick<RunOptions, 'engine' | 'health'> & {
    readonly port: number | undefined
    readonly rootfs: Rootfs | undefined
  },
): Promise<void> {
  const { engine, port, health, rootfs } = at
  const words = ['ready', container, engine ?? '-', String(port ?? '-'), rootfs ?? '-']
  const { records } = await connected.session.ask(words)
  const found = engineOf(records.find((words) => words[0] === 'engine')?.[1])
  if (found === 'nspawn' && health.kind === 'command')
    throw new VarveError(
      'E_NO_ENGINE',
      `cannot check the health of ${container} by a command: systemd-nspawn has no way to`,
      {
        hint: 'use --health-tcp PORT, or another --engine',
      },
    )
}

function healthWord(health: Health): string {
  if (health.kind === 'tcp') return `tcp:${health.port}`
  return health.kind === 'none' ? 'none' : `cmd:${wordOf(health.text)}`
}

/** TO BACK health|start WHY */
function illness(
  [, to, back, kind, ...why]: Words,
  { connected, container, health }: { readonly connected: Connected; readonly container: string; readonly health: Health }, // prettier-ignore
): VarveError {
  const again = number(back)
  const target = `${hostText(connected.host)}:${container}`
  const code = again > 0 || (kind === 'health' && health.kind !== 'none') ? 'E_HEALTH' : 'E_START'
  const now = again > 0 ? `generation ${again} runs again` : 'nothing runs'
  return new VarveError(code, `cannot run generation ${number(to)} of ${container}: ${why.join(' ')}; ${now}`, {
    hint: `its log: varve logs ${target} --generation ${number(to)}`,
  })
}

function crippled(flag: string | undefined, at: string): string {
  const [what, remedy] =
    flag === 'nosuid'
      ? ['set-user-ID programs and file capabilities are without effect, for the root filesystem is a copy', 'suid']
      : ['programs in what is persisted do not run, for it lies', 'exec']
  return `${what} on ${escapeControls(at, 0x7e)}, which is mounted ${flag} (there: mount -o remount,${remedy} ${escapeControls(at, 0x7e)})`
}

function wroteOf(records: readonly Words[]): Wrote | null {
  const wrote = records.find((words) => words[0] === 'wrote')
  if (wrote === undefined) return null
  const names = records.filter((words) => words[0] === 'wrote-name').map((words) => words.slice(1).join(' '))
  return { files: number(wrote[1]), bytes: number(wrote[2]), removed: number(wrote[3]), names }
}

function bootOf(words: Words | undefined): Started['boot'] {
  if (words === undefined) return null
  const text = words.slice(2).join(' ')
  return words[1] === 'unit' ? { unit: text } : { line: text }
}

// start, restart, stop: what is current runs on an engine of the host, or runs no more.
import { VarveError } from '../errors.ts'
import { number, wordOf, type Words } from '../host/replies.ts'
import { engineOf } from '../host/survey.ts'
import type { Engine } from '../model/engine.ts'
import { hostText, type Target } from '../model/names.ts'
import type { Health } from '../model/service.ts'
import { connect, type Connected, type Context } from './context.ts'

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

/** What would stand against a start, before anything is sent. Throws E_NO_ENGINE, E_RUNNING, E_PORT. */
export async function readyOn(
  connected: Connected,
  container: string,
  { engine, port, health }: Pick<RunOptions, 'engine' | 'health'> & { readonly port: number | undefined },
): Promise<void> {
  const { records } = await connected.session.ask(['ready', container, engine ?? '-', String(port ?? '-')])
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

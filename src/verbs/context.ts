// What every verb is given: where things are, whom to ask, and whom to tell.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { VarveError } from '../errors.ts'
import { connectLocal } from '../host/local.ts'
import { openSession, type Session } from '../host/session.ts'
import type { connectSsh } from '../host/ssh.ts'
import { readSurvey, type Survey } from '../host/survey.ts'
import type { Transport } from '../host/transport.ts'
import type { Platform } from '../image/platform.ts'
import { escapeControls } from '../model/bytes.ts'
import { hostText, type ContainerName, type HostRef } from '../model/names.ts'
import { openManifest, type Manifest } from '../store/manifest.ts'

export { parsePlatform } from '../image/platform.ts'

/** What a verb tells while it runs. */
export type Event =
  | { readonly kind: 'warning'; readonly code: string; readonly message: string }
  /** What it found and decided, for who wants to know more. */
  | { readonly kind: 'detail'; readonly message: string }
  | { readonly kind: 'scan'; readonly entries: number; readonly bytes: number }
  | { readonly kind: 'send'; readonly contents: number; readonly ofContents: number; readonly sent: number }
  | { readonly kind: 'step'; readonly step: 'scan' | 'connect' | 'plan' | 'send' | 'apply' | 'run' | 'done' }
  /** What containers said, for who must find out why they are not well. */
  | { readonly kind: 'log'; readonly text: string }

export type Question = { readonly kind: 'password' | 'passphrase' | 'confirm'; readonly prompt: string }

export type Context = {
  readonly stateDirectory: string
  /** On the host; absolute, of plain characters. */
  readonly store: string
  readonly bundles: string
  readonly login: {
    readonly user: string
    readonly home: string
    readonly agentSocket: string | undefined
    readonly identities: readonly string[]
    readonly configFile: string | undefined
    readonly acceptNew: boolean
  }
  /** Which image of several, whether a registry may be asked over plain HTTP, and a container paused while it is read. */
  readonly image: { readonly platform?: Platform; readonly insecure?: boolean; readonly pause?: boolean }
  /** Where auth files and helpers, engines and their commands are found: also DOCKER_HOST, DOCKER_CONTEXT; see ImageOptions. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly stdin: Readable
  /** What must still be undone, e.g. a pause: who ends the process in the middle of a verb runs these first. */
  readonly undo: Set<() => Promise<void>>
  /** Undefined where there is no terminal to ask at. */
  readonly ask: ((question: Question) => Promise<string | undefined>) | undefined
  readonly onEvent: (event: Event) => void
  /** How often a connection that was lost is made again; never when left out. */
  readonly retries?: number
  /** How much processor time bytes are worth: what is sooner on this link, when left out. */
  readonly effort?: 'fast' | 'auto' | 'max'
  /** The most that a delta takes of the link; all of it when left out. */
  readonly bytesPerSecond?: number
}

export type Connected = AsyncDisposable & {
  readonly host: HostRef
  readonly session: Session
  readonly traffic: Transport['traffic']
  /** A delta need not be spooled: no link can cut it, and no login user holds it. */
  readonly direct: boolean
  survey(container: ContainerName | undefined): Promise<Survey>
}

/** The local manifest, in the state directory. */
export function manifestOf(context: Context): Manifest {
  return openManifest(context.stateDirectory)
}

export function spoolDirectoryOf(context: Context): string {
  const directory = join(context.stateDirectory, 'spool')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  return directory
}

/**
 * Connects and becomes root; with a container the first survey is that of it, and costs no round trip. Throws the errors of
 * the transport and of the session.
 */
export async function connect(
  host: HostRef,
  context: Context,
  { signal, container }: { readonly signal?: AbortSignal; readonly container?: ContainerName } = {},
): Promise<Connected> {
  for (const path of [context.store, context.bundles]) checkHostPath(path)
  context.onEvent({ kind: 'step', step: 'connect' })
  const transport = host.kind === 'local' ? connectLocal() : await overSsh(host, context, signal)
  try {
    const { ask } = context
    const session = await openSession(transport, {
      store: context.store,
      bundles: context.bundles,
      askPassword: ask && (() => ask({ kind: 'password', prompt: `[sudo] password on ${hostText(host)}: ` })),
      roundTripsPerCommand: host.kind === 'local' ? 0 : 2,
      bytesPerSecond: context.bytesPerSecond,
      ...(container === undefined ? {} : { first: surveyOf(container) }),
    })
    session.first?.catch(() => {}) // told where it is asked for
    let first = session.first
    return {
      host,
      session,
      traffic: transport.traffic,
      direct: host.kind === 'local',
      survey: async (of) => {
        const asked = of === container && first !== undefined ? first : session.ask(surveyOf(of))
        first = undefined
        const survey = readSurvey(await asked)
        context.onEvent({ kind: 'detail', message: `${hostText(host)} ${surveyText(survey)}` })
        return survey
      },
      async [Symbol.asyncDispose]() {
        await session[Symbol.asyncDispose]()
        await transport[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await transport[Symbol.asyncDispose]()
    throw error
  }
}

/** What a host said is good for so long; then it is asked again. */
const SURVEY_MS = 10_000
/** Who must be asked something waits for the work so long. A server waits two minutes for a login. */
const QUESTION_MS = 60_000

/**
 * Connects, and asks what the host has, while some work is done; resolves when both are. Nobody is asked anything before the
 * work is done, and where it fails, that is thrown and the connection is given up.
 */
export async function connectDuring(
  work: Promise<unknown>,
  { host, container }: { readonly host: HostRef; readonly container: ContainerName },
  context: Context,
): Promise<Connected> {
  const { ask, onEvent } = context
  const stop = new AbortController()
  let late = false
  const beside: Context = {
    ...context,
    onEvent: (event) => void (event.kind === 'step' || onEvent(event)),
    ask:
      ask &&
      (async (question) => {
        const asked = performance.now()
        await work
        late = performance.now() - asked > QUESTION_MS
        return late ? undefined : ask(question)
      }),
  }
  const asked = async (): Promise<Connected> => {
    const connected = await connect(host, beside, { signal: stop.signal, container })
    let first: Promise<Survey> | undefined = connected.survey(container)
    first.catch(() => {}) // told where it is asked for
    const until = performance.now() + SURVEY_MS
    const survey: Connected['survey'] = async (of) => {
      const known = of === container && performance.now() < until ? first : undefined
      first = undefined
      return known ?? connected.survey(of)
    }
    return { ...connected, survey }
  }
  const ahead = asked()
  ahead.catch(() => {}) // told below, behind what the work has to tell
  try {
    await work
  } catch (error) {
    stop.abort()
    void ahead.then((connected) => connected[Symbol.asyncDispose]()).catch(() => {})
    throw error
  }
  onEvent({ kind: 'step', step: 'connect' })
  try {
    return await ahead
  } catch (error) {
    if (!late) throw error
    return connect(host, context)
  }
}

function surveyOf(container: ContainerName | undefined): string[] {
  return ['survey', container ?? '-']
}

/** Loads ssh2 only where it is needed: it takes as long as all the rest of a command that changes nothing. */
async function overSsh(
  host: HostRef & { kind: 'ssh' },
  context: Context,
  signal: AbortSignal | undefined,
): Promise<Transport> {
  const ssh = await import('../host/ssh.ts')
  return ssh.connectSsh(host, { ...sshOptions(context), ...(signal === undefined ? {} : { signal }) })
}

function surveyText({ tools, trees }: Survey): string {
  const tar = { gnu: 'GNU tar', busybox: 'BusyBox tar', none: 'no tar' }[tools.tar]
  const codecs = (['zstd', 'xz', 'gzip'] as const).filter(tools.has)
  const found = [tar, ...codecs, ...(tools.has('overlay') ? ['overlayfs'] : [])].join(', ')
  return `has ${found}; its store on ${escapeControls(tools.filesystem)} has ${trees.length} trees`
}

function sshOptions({ login, ask }: Context): Parameters<typeof connectSsh>[1] {
  return {
    user: login.user,
    home: login.home,
    identities: login.identities,
    acceptNew: login.acceptNew,
    ...(login.agentSocket === undefined ? {} : { agentSocket: login.agentSocket }),
    ...(login.configFile === undefined ? {} : { configFile: login.configFile }),
    ...(ask === undefined ? {} : { ask }),
  }
}

/** Overlayfs reads `:`, `,` and `\` in paths as its own, and a path must mean the same in every shell. Throws E_USAGE. */
export function checkHostPath(path: string): void {
  if (!/^\/[A-Za-z0-9_./-]+$/.test(path) || path.split('/').includes('..'))
    throw new VarveError(
      'E_USAGE',
      `cannot use "${escapeControls(path)}" on the host: it is no absolute path of letters, digits, "_", "-" and "."`,
      { hint: 'write for example --store /srv/varve' },
    )
}

/** Refuses a host that lacks what the runtime is made of, before anything is sent. */
export function checkTools({ tools }: Survey): void {
  if (tools.tar === 'none')
    throw new VarveError('E_TOOL', 'cannot use the host: it has neither GNU tar nor BusyBox tar', {
      hint: 'apt-get install tar',
    })
  if (tools.missing.length > 0)
    throw new VarveError('E_TOOL', `cannot use the host: it lacks ${tools.missing.join(', ')}`, {
      hint: 'apt-get install coreutils findutils sed mawk mount',
    })
}

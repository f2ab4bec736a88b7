// The operator's own wishes for a container's config.json: how they are written, kept with a generation, and carried out.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { ENGINES, type Engine, type Network } from '../model/engine.ts'
import { parseCapability, withCapabilities } from './capabilities.ts'
import {
  checkCommand,
  checkCwd,
  inline,
  isObject,
  objectsAt,
  parseObject,
  put,
  textAt,
  textsAt,
  type Json,
  type JsonObject,
} from './document.ts'
import { checkVariable } from './generated.ts'
import { placeOf } from './mounts.ts'
import { REWRITES } from './rewrites.ts'
import { splitUser } from './user.ts'

/** What is left out is not wished for. */
export type Settings = {
  readonly cmd?: readonly string[]
  readonly env?: readonly string[]
  readonly cwd?: string
  readonly user?: string
  /** Each `SRC:DST[:ro]`, or `none:DST`. */
  readonly mount?: readonly string[]
  readonly capAdd?: readonly string[]
  readonly capDrop?: readonly string[]
  /** `host`, `none` or `path:FILE`. */
  readonly net?: string
  /** Names of rewrites that are not to be made. */
  readonly keep?: readonly string[]
  readonly engine?: Engine
  /** Merge patches, in order. */
  readonly patch?: readonly JsonObject[]
}

export type Mount = { readonly source: string | undefined; readonly destination: string; readonly readOnly: boolean }

/** Where a generation keeps them: in its config.json, so that they go wherever it goes. */
export const ANNOTATION = 'varve.settings'
export const ENGINE_ANNOTATION = 'varve.engine'

/** What each is as JSON, in the order in which they are kept. */
const KINDS: Record<keyof Settings, 'list' | 'word' | 'objects'> = {
  cmd: 'list',
  env: 'list',
  mount: 'list',
  capAdd: 'list',
  capDrop: 'list',
  keep: 'list',
  cwd: 'word',
  user: 'word',
  net: 'word',
  engine: 'word',
  patch: 'objects',
}
const KEYS = Object.keys(KINDS) as (keyof Settings)[]

/** Refuses what cannot be carried out, before anything is read. Throws E_USAGE, E_CONFIG. */
export function checkSettings(settings: Settings): void {
  const { cmd, cwd, user, mount, capAdd, capDrop, net, keep, env } = settings
  if (inline(settings).includes('\\u0000'))
    throw new VarveError('E_USAGE', 'cannot use what is wished for config.json: a text in it has a NUL byte')
  if (cmd !== undefined) checkCommand(cmd, '--cmd')
  if (cwd !== undefined) checkCwd(cwd, '--cwd')
  if (user !== undefined) splitUser(user)
  for (const item of env ?? []) checkVariable(item)
  for (const item of mount ?? []) parseMount(item)
  for (const item of [...(capAdd ?? []), ...(capDrop ?? [])]) parseCapability(item)
  parseNetwork(net)
  const unknown = keep?.find((name) => !(REWRITES as readonly string[]).includes(name))
  if (unknown !== undefined)
    throw new VarveError('E_USAGE', `cannot keep "${escapeControls(unknown)}": no rewrite has that name`, {
      hint: `use one of ${REWRITES.join(', ')}; varve plan says which there were`,
    })
}

/** Throws E_USAGE for what would mount over the root, over /proc, or out of the container. */
export function parseMount(text: string): Mount {
  const [, source = '', destination = '', option] = /^(none|\/[^:\0]*):(\/[^:\0]*)(:ro|:rw)?$/.exec(text) ?? []
  const parts = destination.split('/').filter((part) => part !== '' && part !== '.')
  const escapes = [source, destination].some((path) => path.split('/').includes('..'))
  if (escapes || parts.length === 0 || parts[0] === 'proc')
    throw new VarveError(
      'E_USAGE',
      `cannot mount "${escapeControls(text)}": it is not SRC:DST or SRC:DST:ro, of absolute paths without "..", and DST not / or in /proc`,
      { hint: 'write for example --mount /srv/fossil:/museum, or --mount none:/museum for no mount there' },
    )
  return {
    source: source === 'none' ? undefined : source,
    destination: `/${parts.join('/')}`,
    readOnly: option === ':ro',
  }
}

/** The host's where nothing is said. Throws E_USAGE. */
export function parseNetwork(text: string | undefined): Network {
  if (text === undefined || text === 'host' || text === 'none') return { kind: text ?? 'host' }
  const path = /^path:(\/[^\0]+)$/.exec(text)?.[1]
  if (path === undefined || path.split('/').includes('..'))
    throw new VarveError(
      'E_USAGE',
      `cannot use the network "${escapeControls(text)}": it is not host, none or path:FILE`,
      {
        hint: 'write for example --net path:/run/netns/web',
      },
    )
  return { kind: 'path', path }
}

/** What was kept on the host; each wish that is given anew takes the place of the old one. */
export function mergeSettings(kept: Settings, given: Settings): Settings {
  return { ...kept, ...given }
}

/** `under` is what the patches lie over, by path, so that the next push sees what changed there. */
export type Kept = { readonly settings: Settings; readonly under: JsonObject }

export function settingsText({ settings, under }: Kept): string | undefined {
  if (Object.keys(settings).length === 0) return undefined
  // in one order, so that the same wishes are the same text
  const said = KEYS.flatMap((key) => (settings[key] === undefined ? [] : [[key, settings[key]]]))
  const text = inline(
    Object.fromEntries(Object.keys(under).length > 0 ? [...said, ['under', under]] : said) as JsonObject,
  )
  // a shell there counts its bytes
  return text.replace(/[^ -~]/g, (unit) => `\\u${(unit.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`)
}

/** Throws E_PROTO for what settingsText never wrote; keys of later versions are passed over. */
export function parseSettings(text: string): Kept {
  const bad = (why: string): VarveError => new VarveError('E_PROTO', `cannot read the settings on the host: ${why}`)
  let value: JsonObject
  try {
    value = parseObject(text, 'the settings')
  } catch (cause) {
    throw bad(cause instanceof Error ? cause.message : 'they are no JSON')
  }
  const read = KEYS.flatMap((key): [string, Json][] => {
    const [found, kind] = [value[key], KINDS[key]]
    const items = { list: textsAt(value, key), word: textAt(value, key), objects: objectsAt(value, key) }[kind]
    if (found === undefined || (key === 'engine' && !ENGINES.some((engine) => engine === found))) return []
    if (items === undefined || inline(items) !== inline(found)) throw bad(`"${key}" is not what it should be`)
    return [[key, items]]
  })
  const settings = Object.fromEntries(read) as Settings
  try {
    checkSettings(settings)
  } catch (cause) {
    throw bad(cause instanceof Error ? cause.message : 'they are none')
  }
  return { settings, under: isObject(value['under']) ? value['under'] : {} }
}

/** All wishes but patches, over what was generated. `user` is the process's, where another is wished for. */
export function carryOut(config: JsonObject, settings: Settings, user: JsonObject | undefined): JsonObject {
  const { cmd, cwd, env = [], capAdd = [], capDrop = [], mount = [] } = settings
  let made = config
  if (user !== undefined) made = put(made, ['process', 'user'], user)
  if (cmd !== undefined) made = put(made, ['process', 'args'], cmd)
  if (cwd !== undefined) made = put(made, ['process', 'cwd'], cwd)
  if (env.length > 0) made = put(made, ['process', 'env'], withVariables(textsAt(made, 'process', 'env'), env))
  if (capAdd.length + capDrop.length > 0)
    made = put(made, ['process'], withCapabilities(objectOf(made['process']), capAdd, capDrop))
  if (mount.length > 0) made = put(made, ['mounts'], withMounts(objectsAt(made, 'mounts'), mount.map(parseMount)))
  return made
}

function objectOf(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {}
}

/** A variable that is there already keeps its place. */
export function withVariables(before: readonly string[], given: readonly string[]): string[] {
  const nameOf = (item: string): string => item.split('=', 1)[0] ?? ''
  const all = new Map(before.map((item) => [nameOf(item), item]))
  for (const item of given) all.set(nameOf(item), item)
  return [...all.values()]
}

function withMounts(before: readonly JsonObject[], mounts: readonly Mount[]): JsonObject[] {
  // of two at one place the last one stands
  const taken = new Map(mounts.map((mount) => [mount.destination, mount]))
  const kept = before.filter((mount) => !taken.has(placeOf(mount)))
  const added = [...taken.values()].flatMap(({ source, destination, readOnly }) =>
    source === undefined
      ? []
      : [{ destination, type: 'bind', source, options: ['rbind', 'rprivate', ...(readOnly ? ['ro'] : [])] }],
  )
  return [...kept, ...added]
}

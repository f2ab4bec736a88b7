// Gathers the config.json of a generation: from the operator's file, the live container, the bundle or the image, for this host.
import { readFile } from 'node:fs/promises'
import { parseObject, put, textAt, textsAt, type JsonObject } from '../bundle/document.ts'
import { generate } from '../bundle/generated.ts'
import { imageSays, SAYS_NOTHING, type Says as ImageSays } from '../bundle/image.ts'
import { devicesOf, fromInspect, groupsOf, volumesOf } from '../bundle/inspect.ts'
import { makeConfig, type Made } from '../bundle/make.ts'
import { mergeSettings, parseSettings, type Kept, type Settings } from '../bundle/settings.ts'
import { groupId, resolveUser } from '../bundle/user.ts'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { ENGINES, ENGINE_COMMANDS, type Engine } from '../model/engine.ts'
import { accountsFor, volumesAt } from './accounts.ts'
import type { Asked } from './prepare.ts'

export { checkSettings, type Settings } from '../bundle/settings.ts'
export { REWRITES } from '../bundle/rewrites.ts'
export { ENGINES } from '../model/engine.ts'

/** What the operator says of config.json. */
export type ConfigOptions = {
  /** A config.json in place of the source's. */
  readonly configFile: string | undefined
  /** Files of merge patches, in order. */
  readonly patchFiles: readonly string[]
  readonly settings: Settings
  /** Settings that were kept on the host are not taken up again. */
  readonly forget: boolean
}

export type Bundle = Made & {
  /** In words: where config.json is from. */
  readonly from: string
  readonly engine: Engine
  /** Settings of an earlier push that hold on. */
  readonly kept: readonly string[]
  /** Places where the image wants its data kept apart, and what is mounted there. */
  readonly volumes: readonly { readonly path: string; readonly mounted: string }[]
}

/** `persist` is what outlives generations, see Wish. Throws E_CONFIG, E_CONFIG_USER, E_SOURCE_UNREADABLE. */
export async function bundleFor(at: Asked, persist: ReadonlyMap<string, string> = new Map()): Promise<Bundle> {
  const { options, survey } = at
  const before = keptBy(at)
  const given = await patchesOf(options)
  const settings = mergeSettings(before.settings, given)
  const engine = engineFor(settings, at)
  const source = await sourceOf(at, settings)
  const { user } = settings
  const made = makeConfig(
    source.config,
    {
      container: options.target.container,
      engine,
      facts: survey.tools.facts,
      made: source.made,
      foreign: source.foreign && options.target.host.kind !== 'local',
      volumes: source.volumes,
    },
    {
      what: source.what,
      settings,
      persist,
      user: user === undefined ? undefined : resolveUser(user, await accountsFor(user, at)),
      under: given.patch === undefined ? before.under : {},
    },
  )
  const kept = Object.keys(before.settings).filter((key) => !Object.hasOwn(given, key))
  return {
    ...made,
    from: source.what,
    engine,
    kept,
    volumes: source.wanted.map((path) => ({ path, mounted: mountedAt(path, made) })),
  }
}

function keptBy({ survey, options }: Asked): Kept {
  const none: Kept = { settings: {}, under: {} }
  return options.config.forget || survey.settings === undefined ? none : parseSettings(survey.settings)
}

async function patchesOf({ config }: Asked['options']): Promise<Settings> {
  const patch: JsonObject[] = []
  for (const file of config.patchFiles) patch.push(parseObject(await textOf(file), named(file)))
  return patch.length > 0 ? { ...config.settings, patch } : config.settings
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new VarveError('E_SOURCE_UNREADABLE', `cannot read ${named(file)}: ${escapeControls(messageOf(cause))}`, {
      cause,
    })
  }
}

function named(file: string): string {
  return `"${escapeControls(file)}"`
}

function engineFor({ engine }: Settings, { survey: { tools }, context }: Asked): Engine {
  const found = ENGINES.find((known) => known !== 'none' && tools.has(ENGINE_COMMANDS[known])) ?? 'none'
  const chosen = engine ?? found
  const warn = (message: string): void => context.onEvent({ kind: 'warning', code: 'W_ENGINE', message })
  if (chosen !== 'none' && tools.facts.cgroup !== 'unknown' && !tools.has(ENGINE_COMMANDS[chosen]))
    warn(`the host has no ${ENGINE_COMMANDS[chosen]}, for which config.json is made`)
  if (chosen === 'crun' && tools.facts.cgroup === 'hybrid')
    warn('crun refuses to run where cgroups of version 1 and 2 are mounted side by side, as on this host')
  return chosen
}

type From = {
  readonly config: JsonObject
  readonly what: string
  readonly made: boolean
  readonly foreign: boolean
  readonly volumes: ReadonlyMap<string, string>
  readonly wanted: readonly string[]
}

const OWN = { made: false, foreign: false, volumes: new Map<string, string>(), wanted: [] }

async function sourceOf(at: Asked, settings: Settings): Promise<From> {
  const { source: { says }, options, context } = at // prettier-ignore
  const { configFile } = options.config
  if (configFile !== undefined) {
    const what = named(configFile)
    return { ...OWN, config: parseObject(await textOf(configFile), what), what }
  }
  switch (says.kind) {
    case 'bundle': {
      const what = `config.json of "${escapeControls(says.name)}"`
      return { ...OWN, config: parseObject(says.text, what), what }
    }
    case 'container': {
      const inspected = parseObject(says.inspected, 'what the engine says')
      const volumes = volumesOf(inspected)
      if (says.runtime !== undefined) {
        const what = named(says.runtime.path)
        const config = withStopSignal(parseObject(says.runtime.text, what), inspected)
        return { ...OWN, config, what, foreign: true, volumes }
      }
      for (const device of devicesOf(inspected))
        context.onEvent({
          kind: 'warning',
          code: 'W_DEVICE',
          message: `the device "${escapeControls(device)}" was left out of config.json: its numbers are in the engine's own, which only root can read`,
        })
      const given = await givenBy({ ...imageSays(says.text), volumes: [] }, at, {
        settings,
        groups: groupsOf(inspected),
      })
      const config = fromInspect(inspected, given)
      return {
        ...OWN,
        config,
        what: `what the engine says of "${escapeControls(says.name)}"`,
        made: true,
        foreign: true,
        volumes,
      }
    }
    default: {
      const image = says.kind === 'image' ? imageSays(says.text) : SAYS_NOTHING
      if (image.unsafe.length > 0)
        context.onEvent({
          kind: 'warning',
          code: 'W_LABEL',
          message: `labels of the image that an engine would take as orders were left out: ${escapeControls(image.unsafe.join(', ').slice(0, 300))}`,
        })
      const what = says.kind === 'image' ? "the image's config" : 'defaults, for the source says nothing'
      const config = generate(await givenBy(image, at, { settings, groups: [] }))
      return { ...OWN, config, what, made: true, wanted: image.volumes }
    }
  }
}

/** A user whom the operator replaces need not be one of the image's. */
async function givenBy(
  { process, annotations, volumes }: ImageSays,
  at: Asked,
  { settings, groups }: { readonly settings: Settings; readonly groups: readonly string[] },
): Promise<Parameters<typeof generate>[0]> {
  const name = at.options.target.container
  const places = volumesAt(volumes, at)
  const text = settings.user === undefined ? process.user : undefined
  const accounts = await accountsFor(groups.some((group) => !/^[0-9]+$/.test(group)) ? 'names' : text, at)
  const user = resolveUser(text, accounts)
  const more = groups.map((group) => groupId(group, accounts.group))
  const before = Array.isArray(user['additionalGids']) ? user['additionalGids'] : []
  const all = [...new Set([...before, ...more])]
  return { process, annotations, volumes: places, name, user: all.length > 0 ? { ...user, additionalGids: all } : user }
}

/** Docker keeps to itself by which signal a container is stopped. */
function withStopSignal(config: JsonObject, inspected: JsonObject): JsonObject {
  const signal = textAt(inspected, 'Config', 'StopSignal')
  const path = ['annotations', 'org.opencontainers.image.stopSignal']
  return signal === undefined || signal === '' || textAt(config, ...path) !== undefined
    ? config
    : put(config, path, signal)
}

function mountedAt(path: string, made: Made): string {
  const mount = parseObject(made.text('rootfs'), 'config.json')['mounts']
  const found = (Array.isArray(mount) ? mount : [])
    .map((item) => item as JsonObject)
    .findLast((item) => item['destination'] === path)
  if (found === undefined) return 'nothing'
  return textsAt(found, 'options').includes('rbind') ? (textAt(found, 'source') ?? '') : 'memory'
}

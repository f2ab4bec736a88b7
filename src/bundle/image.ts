// What an image's config says of a container: its process, its annotations and its volumes.
import { VarveError } from '../errors.ts'
import { at, isObject, parseObject, textAt, textsAt, type Json, type JsonObject } from './document.ts'

/** What a container is run with, where somebody says it. */
export type Process = {
  readonly args: readonly string[] | undefined
  /** Each NAME=VALUE. */
  readonly env: readonly string[]
  readonly cwd: string | undefined
  /** USER or USER:GROUP, each a name or a number. */
  readonly user: string | undefined
}

export type Says = {
  readonly process: Process
  readonly annotations: JsonObject
  /** Annotations that an engine would take as orders, and that were left out. */
  readonly unsafe: readonly string[]
  /** Paths at which the image wants its data kept apart, in order. */
  readonly volumes: readonly string[]
}

export const SAYS_NOTHING: Says = {
  process: { args: undefined, env: [], cwd: undefined, user: undefined },
  annotations: {},
  unsafe: [],
  volumes: [],
}

const ANNOTATION = 'org.opencontainers.image'
/** crun and runc do what these say, on the host; the last are varve's own. */
const ORDERS = /^(?:run\.oci\.|org\.systemd\.property\.|varve\.)/

/** By https://github.com/opencontainers/image-spec/blob/v1.1.0/conversion.md . Throws E_CONFIG. */
export function imageSays(text: string): Says {
  const image = parseObject(text, 'the image config')
  const config = at(image, 'config')
  if (config !== undefined && config !== null && !isObject(config)) throw unusable('config is no object')
  const list = (key: string): readonly string[] => {
    const value = at(config, key) ?? []
    const words = textsAt({ value }, 'value')
    if (!Array.isArray(value) || words.length !== value.length) throw unusable(`${key} is no list of strings`)
    return words
  }
  const word = (key: string): string | undefined => textAt(config ?? {}, key) || undefined
  const keys = (key: string): string[] => Object.keys(object(at(config, key)))
  const args = [...list('Entrypoint'), ...list('Cmd')]
  const all = { ...implied(image, word('StopSignal'), keys('ExposedPorts')), ...texts(object(at(config, 'Labels'))) }
  const unsafe = Object.keys(all).filter((key) => ORDERS.test(key) || key === '')
  return {
    process: {
      args: args.length > 0 ? args : undefined,
      env: list('Env'),
      cwd: word('WorkingDir'),
      user: word('User'),
    },
    annotations: Object.fromEntries(Object.entries(all).filter(([key]) => !unsafe.includes(key))),
    unsafe,
    volumes: keys('Volumes').toSorted(),
  }
}

/** What a label of the same name gives way to nothing for. */
function implied(image: JsonObject, stopSignal: string | undefined, ports: readonly string[]): JsonObject {
  const found: Record<string, string> = {}
  for (const key of ['os', 'architecture', 'variant', 'os.version', 'author', 'created']) {
    const value = textAt(image, key)
    if (value) found[`${ANNOTATION}.${key}`] = value
  }
  const features = textsAt(image, 'os.features')
  if (features.length > 0) found[`${ANNOTATION}.os.features`] = features.join(',')
  if (stopSignal !== undefined) found[`${ANNOTATION}.stopSignal`] = stopSignal
  if (ports.length > 0) found[`${ANNOTATION}.exposedPorts`] = ports.join(',')
  return found
}

/** Engines write null for an empty one. */
function object(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {}
}

function texts(labels: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => typeof value === 'string'))
}

function unusable(why: string): VarveError {
  return new VarveError('E_CONFIG', `cannot use the image config: its ${why}`)
}

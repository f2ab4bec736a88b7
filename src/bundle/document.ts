// A config.json as a value: read without losing a digit, changed by paths, checked, and printed.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

/** Whole numbers that a double cannot hold, such as the limit 2^64 - 1, are bigints. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | JsonObject
export type JsonObject = { readonly [key: string]: Json }

/** `what` is named in messages. Throws E_CONFIG for what is no JSON object. */
export function parseObject(text: string, what: string): JsonObject {
  let value: Json
  try {
    const plain = JSON.parse(text) as Json
    if (hasNul(plain)) throw new VarveError('E_CONFIG', `cannot use ${what}: a text in it has a NUL byte`)
    value = JSON.parse(markLarge(text), (_, each: unknown) =>
      typeof each === 'string' && each.startsWith('\0') ? BigInt(each.slice(1)) : each,
    ) as Json
  } catch (cause) {
    if (cause instanceof VarveError) throw cause
    throw new VarveError('E_CONFIG', `cannot use ${what}: it is no JSON`, {
      hint: 'look at it with: python3 -m json.tool FILE',
      cause,
    })
  }
  if (!isObject(value)) throw new VarveError('E_CONFIG', `cannot use ${what}: it is no JSON object`)
  return value
}

export function print(value: Json): string {
  return `${JSON.stringify(value, marked, 2).replace(/"\\u0000(-?[0-9]+)"/g, '$1')}\n`
}

/** On one line, as it stands in messages and in lists of differences. */
export function inline(value: Json): string {
  return JSON.stringify(value, marked).replace(/"\\u0000(-?[0-9]+)"/g, '$1')
}

/** For who prints JSON without looking: such a number as a text, and null for nothing. */
export function withoutBigints(value: Json | undefined): unknown {
  return JSON.parse(
    JSON.stringify(value ?? null, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)),
  )
}

function marked(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `\0${value}` : value
}

/** Puts whole numbers of more than 15 digits into texts that begin with a NUL, which no other text has. */
function markLarge(text: string): string {
  let out = ''
  let from = 0
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') at = endOfText(text, at)
    else {
      const number = /^-?[0-9]+(?:[.eE][0-9.eE+-]*)?/.exec(text.slice(at, at + 400))?.[0]
      if (number === undefined) continue
      if (/^-?[0-9]{16,}$/.test(number)) {
        out += `${text.slice(from, at)}"\\u0000${number}"`
        from = at + number.length
      }
      at += number.length - 1
    }
  }
  return out + text.slice(from)
}

function endOfText(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}

function hasNul(value: Json): boolean {
  if (typeof value === 'string') return value.includes('\0')
  if (Array.isArray(value)) return value.some((item: Json) => hasNul(item))
  return isObject(value) && Object.entries(value).some(([key, item]) => key.includes('\0') || hasNul(item))
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What stands at a path of keys; undefined where a step is missing or no object. */
export function at(value: Json | undefined, ...keys: readonly string[]): Json | undefined {
  let now = value
  for (const key of keys) now = isObject(now) && Object.hasOwn(now, key) ? now[key] : undefined
  return now
}

export function objectAt(value: Json, ...keys: readonly string[]): JsonObject {
  const found = at(value, ...keys)
  return isObject(found) ? found : {}
}

export function listAt(value: Json, ...keys: readonly string[]): readonly Json[] {
  const found = at(value, ...keys)
  return Array.isArray(found) ? (found as readonly Json[]) : []
}

export function objectsAt(value: Json, ...keys: readonly string[]): readonly JsonObject[] {
  return listAt(value, ...keys).filter(isObject)
}

export function textsAt(value: Json, ...keys: readonly string[]): readonly string[] {
  return listAt(value, ...keys).filter((item) => typeof item === 'string')
}

export function textAt(value: Json, ...keys: readonly string[]): string | undefined {
  const found = at(value, ...keys)
  return typeof found === 'string' ? found : undefined
}

/** The same with another value at a path of keys; undefined takes it out. Objects on the way are made where one is put. */
export function put(value: JsonObject, keys: readonly string[], item: Json | undefined): JsonObject {
  const [key = '', ...rest] = keys
  const { [key]: old, ...others } = value
  if (rest.length === 0) return item === undefined ? others : { ...value, [key]: item }
  if (item === undefined && !isObject(old)) return value
  return { ...value, [key]: put(objectAt(value, key), rest, item) }
}

/** Refuses what is no config.json at all. Throws E_CONFIG; `what` is named in messages. */
export function checkShape(config: JsonObject, what: string): void {
  const [why, hint] =
    typeof config['ociVersion'] !== 'string'
      ? ['it has no ociVersion']
      : !isObject(config['process'])
        ? ['it has no process', 'runc spec writes a config.json that has one']
        : config['root'] !== undefined && !isObject(config['root'])
          ? ['its root is no object']
          : []
  if (why !== undefined)
    throw new VarveError('E_CONFIG', `cannot use ${what}: ${why}`, hint === undefined ? {} : { hint })
}

/**
 * Refuses what no engine should be given, by https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md. Throws
 * E_CONFIG.
 */
export function checkConfig(config: JsonObject, what: string): void {
  checkShape(config, what)
  const [args, env] = [textsAt(config, 'process', 'args'), textsAt(config, 'process', 'env')]
  checkCommand(args.length === listAt(config, 'process', 'args').length ? args : [], what)
  if (env.length !== listAt(config, 'process', 'env').length)
    throw new VarveError('E_CONFIG', `cannot use ${what}: the variables of its process are no list of texts`)
  checkCwd(textAt(config, 'process', 'cwd') ?? '', what)
  for (const mount of listAt(config, 'mounts')) checkDestination(textAt(mount, 'destination'), what)
}

export function checkCommand(args: readonly string[], what: string): void {
  if (args[0] === undefined || args[0] === '')
    throw new VarveError('E_CONFIG', `cannot use ${what}: its command is empty, or no list of texts`, {
      hint: 'write for example --cmd /bin/sh --cmd=-c --cmd "echo hello"',
    })
}

/** A path in /proc may lead out of the container, however it is written: CVE-2024-21626. */
export function checkCwd(cwd: string, what: string): void {
  if (!cwd.startsWith('/') || partsOf(cwd)[0] === 'proc')
    throw new VarveError(
      'E_CONFIG',
      `cannot use ${what}: the working directory "${escapeControls(cwd)}" is not absolute, or lies in /proc`,
      { hint: 'write for example --cwd /srv' },
    )
}

function checkDestination(destination: string | undefined, what: string): void {
  const shown = escapeControls(destination ?? '')
  if (destination === undefined || !destination.startsWith('/') || destination.split('/').includes('..'))
    throw new VarveError(
      'E_CONFIG',
      `cannot use ${what}: the mount at "${shown}" is not at an absolute path without ".."`,
    )
  if (partsOf(destination).length === 0)
    throw new VarveError('E_CONFIG', `cannot use ${what}: a mount at "${shown}" would hide the root filesystem`)
}

/** Of a path without empty ones and dots. */
function partsOf(path: string): string[] {
  const parts: string[] = []
  for (const part of path.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  return parts
}

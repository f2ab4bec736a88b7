// Reads the JSON of images strictly: what two readers would take for two things is refused.
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

export type JsonObject = { readonly [key: string]: unknown }

const DEEPEST = 64

/** `what` begins messages, e.g. `the index of "oci:dir"`. Throws E_JSON for what is no object, ambiguous or too deep. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  let value: unknown
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    value = JSON.parse(text)
  } catch (cause) {
    throw new VarveError('E_JSON', `cannot read ${what}: ${escapeControls(messageOf(cause).slice(0, 200))}`, { cause })
  }
  checkKeys(text, what)
  return value
}

export function parseObject(bytes: Uint8Array, what: string): JsonObject {
  return asObject(parseJson(bytes, what), what)
}

export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unexpected(what, 'it is no object')
  return value as JsonObject
}

/** An absent list is an empty one, as Go writes it. */
export function asList(value: unknown, what: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw unexpected(what, 'it is no list')
  return value
}

export function asText(value: unknown, what: string): string {
  if (typeof value !== 'string') throw unexpected(what, 'it is no text')
  return value
}

/** An absent text is undefined, and so is an empty one. */
export function asOptionalText(value: unknown, what: string): string | undefined {
  return value === undefined || value === null || value === '' ? undefined : asText(value, what)
}

export function asTexts(value: unknown, what: string): readonly string[] {
  return asList(value, what).map((item) => asText(item, what))
}

function unexpected(what: string, why: string): VarveError {
  return new VarveError('E_JSON', `cannot use ${what}: ${why}`)
}

/** JSON.parse has found that it is JSON; what it lets pass are keys that are there twice, and any depth. */
function checkKeys(text: string, what: string): void {
  const open: (Set<string> | undefined)[] = []
  let previous = ''
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? ''
    if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : undefined)
      if (open.length > DEEPEST) throw unexpected(what, `it is deeper than ${DEEPEST} levels`)
    } else if (character === '}' || character === ']') open.pop()
    else if (character === '"') {
      const end = endOfText(text, at)
      if (previous === '{' || previous === ',') addKey(open.at(-1), text.slice(at, end + 1), what)
      at = end
    }
    if ('{}[],:"'.includes(character)) previous = character
  }
}

function addKey(keys: Set<string> | undefined, token: string, what: string): void {
  if (keys === undefined) return // a text in a list
  const key = JSON.parse(token) as string
  if (key === '__proto__') throw unexpected(what, 'it has a key "__proto__"')
  if (keys.has(key)) throw unexpected(what, `it has the key "${escapeControls(key.slice(0, 80))}" twice`)
  keys.add(key)
}

/** Where the text that begins at `start` has its closing quote. No regular expression: megabytes overflow V8's stack. */
function endOfText(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}

// How two JSON values differ, as a short list that a person can read.
import { inline, isObject, type Json, type JsonObject } from './document.ts'

/** `path` is as in `linux.cgroupsPath` and `mounts[/data].source`; a side is undefined where it has nothing there. */
export type Difference = { readonly path: string; readonly was: Json | undefined; readonly now: Json | undefined }

export function differences(was: Json | undefined, now: Json | undefined, path = ''): Difference[] {
  if (was !== undefined && now !== undefined && inline(was) === inline(now)) return []
  if (isObject(was) && isObject(now)) return between(entriesOf(was), entriesOf(now), (key) => join(path, key))
  if (Array.isArray(was) && Array.isArray(now)) return ofLists(was, now, path)
  return [{ path, was, now }]
}

function ofLists(was: readonly Json[], now: readonly Json[], path: string): Difference[] {
  const [before, after] = [named(was), named(now)]
  if (before !== undefined && after !== undefined) {
    const found = between(before, after, (name) => `${path}[${name}]`)
    if (found.length > 0) return found
  }
  // no names tell the items apart: those that only one side has
  const [left, right] = [new Set(was.map(inline)), new Set(now.map(inline))]
  const gone = was.filter((item) => !right.has(inline(item)))
  const come = now.filter((item) => !left.has(inline(item)))
  if (gone.length + come.length === 0) return [{ path, was, now }]
  return [{ path, was: gone.length > 0 ? gone : undefined, now: come.length > 0 ? come : undefined }]
}

function between(
  was: ReadonlyMap<string, Json>,
  now: ReadonlyMap<string, Json>,
  pathOf: (name: string) => string,
): Difference[] {
  return [...new Set([...was.keys(), ...now.keys()])].flatMap((name) =>
    was.has(name) || now.has(name) ? differences(was.get(name), now.get(name), pathOf(name)) : [],
  )
}

function entriesOf(value: JsonObject): ReadonlyMap<string, Json> {
  return new Map(Object.entries(value))
}

/** Mounts by where they are, namespaces and limits by their type; undefined where that tells no two apart. */
function named(items: readonly Json[]): ReadonlyMap<string, Json> | undefined {
  const found = new Map<string, Json>()
  for (const item of items) {
    const name = isObject(item) ? (item['destination'] ?? item['type']) : undefined
    if (typeof name !== 'string' || found.has(name)) return undefined
    found.set(name, item)
  }
  return found
}

function join(path: string, key: string): string {
  const shown = /^[A-Za-z0-9_-]+$/.test(key) ? key : `"${key}"`
  return path === '' ? shown : `${path}.${shown}`
}

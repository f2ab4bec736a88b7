// Merge patches by RFC 7396 (https://www.rfc-editor.org/rfc/rfc7396), and which values one would change.
import { isObject, type Json, type JsonObject } from './document.ts'

export function mergePatch(target: Json | undefined, patch: JsonObject): JsonObject {
  const merged = new Map(Object.entries(isObject(target) ? target : {}))
  for (const [key, value] of Object.entries(patch))
    if (value === null) merged.delete(key)
    else merged.set(key, isObject(value) ? mergePatch(merged.get(key), value) : value)
  return Object.fromEntries(merged)
}

/** Paths of keys to all that a patch sets or takes out. */
export function leavesOf(patch: JsonObject): string[][] {
  return Object.entries(patch).flatMap(([key, value]) =>
    isObject(value) && Object.keys(value).length > 0 ? leavesOf(value).map((rest) => [key, ...rest]) : [[key]],
  )
}

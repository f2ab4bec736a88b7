// From what a source says to the config.json of a generation: rewritten for the host, then as the operator wishes.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { differences, type Difference } from './differences.ts'
import { at, checkConfig, checkShape, inline, isObject, print, put, type Json, type JsonObject } from './document.ts'
import { forNspawn } from './nspawn.ts'
import { leavesOf, mergePatch } from './patch.ts'
import { rewrite, type Around, type Change } from './rewrites.ts'
import {
  ANNOTATION,
  ENGINE_ANNOTATION,
  carryOut,
  parseMount,
  parseNetwork,
  settingsText,
  type Kept,
  type Settings,
} from './settings.ts'

export type Wish = {
  /** Names the config in messages. */
  readonly what: string
  readonly settings: Settings
  /** The process's user, where the operator wishes for another. */
  readonly user: JsonObject | undefined
  /** What outlives generations, by path in the container: the directory on the host. */
  readonly persist?: ReadonlyMap<string, string>
  /** What the patches lay over at the last push. */
  readonly under: JsonObject
}

export type Made = {
  /** For a root filesystem at this path, which is absolute and free of symlinks: runc refuses any other once the bundle is reached through a link. */
  readonly text: (rootPath: string) => string
  /** From what the source says, in order. */
  readonly changes: readonly Change[]
  /** Where what is generated has changed under a patch. */
  readonly notes: readonly string[]
}

/** Throws E_CONFIG, E_USAGE. */
export function makeConfig(
  config: JsonObject,
  around: Omit<Around, 'network' | 'covered'>,
  { what, settings, user, under, persist = new Map<string, string>() }: Wish,
): Made {
  const { keep = [], patch = [] } = settings
  checkShape(config, what)
  const all: Around = {
    ...around,
    network: parseNetwork(settings.net),
    covered: new Set([...(settings.mount ?? []).map((mount) => parseMount(mount).destination), ...persist.keys()]),
  }
  const generated = rewrite(config, all, keep)
  const strict = around.engine === 'nspawn' && !keep.includes('nspawn')
  const kept = [...persist].map(([destination, source]) => `${source}:${destination}`)
  const wished = carryOut(generated.config, { ...settings, mount: [...(settings.mount ?? []), ...kept] }, user)
  const own = strict ? forNspawn(wished) : wished
  const patched = patch.reduce(mergePatch, own)
  if (strict) refuseForNspawn(patched)
  checkConfig(patched, patch.length > 0 ? `${what} as it is patched` : what)
  const over = underneath(patch, own)
  const root: Difference = { path: 'root.path', was: at(config, 'root', 'path'), now: 'rootfs' }
  const final = put(withSettings(patched, { settings, under: over }), ['root', 'path'], 'rootfs')
  return {
    text: (rootPath) => print(put(final, ['root', 'path'], rootPath)),
    changes: [
      ...(root.was === root.now ? [] : [{ rewrite: 'root', why: 'it is the generation\'s', loses: false, ...root }]), // prettier-ignore
      ...generated.changes,
      ...changesBy('options', 'the operator wishes it', differences(generated.config, own)),
      ...changesBy('patch', 'the operator patches it', differences(own, patched)),
    ],
    notes: notesOn(patch, { before: under, now: over }),
  }
}

function changesBy(rewriteName: string, why: string, found: readonly Difference[]): Change[] {
  return found.map((difference) => ({ rewrite: rewriteName, why, loses: false, ...difference }))
}

function withSettings(config: JsonObject, kept: Kept): JsonObject {
  const text = settingsText(kept)
  const before = at(config, 'annotations')
  if (text === undefined && !isObject(before)) return config
  // a runtime on the host looks for the engine by itself
  const withEngine = put(config, ['annotations', ENGINE_ANNOTATION], kept.settings.engine)
  return put(withEngine, ['annotations', ANNOTATION], text)
}

/** Its parser says nothing of what it refuses, so a patch is not left to it. */
function refuseForNspawn(config: JsonObject): void {
  const refused = differences(config, forNspawn(config)).map(({ path }) => escapeControls(path))
  if (refused.length > 0)
    throw new VarveError(
      'E_CONFIG',
      `cannot give config.json as it is patched to systemd-nspawn, which refuses ${refused.slice(0, 10).join(', ')}`,
      { hint: 'change the patch, or take another engine: --engine runc' },
    )
}

function underneath(patches: readonly JsonObject[], config: JsonObject): JsonObject {
  const leaves = patches.flatMap(leavesOf).map((path) => [path.join('.'), at(config, ...path) ?? null] as const)
  return Object.fromEntries(leaves)
}

/** Three ways: what it was when the patch was last laid over it, what it is now, and that the patch stands. */
function notesOn(
  patches: readonly JsonObject[],
  { before, now }: { readonly before: JsonObject; readonly now: JsonObject },
): string[] {
  return patches.flatMap(leavesOf).flatMap((path) => {
    const name = path.join('.')
    const [was, is] = [at(before, name), at(now, name)]
    if (was === undefined || is === undefined || inline(was) === inline(is)) return []
    const patched = patches.reduce<Json | undefined>((value, patch) => at(patch, ...path) ?? value, undefined)
    return [
      `${escapeControls(name)} was ${shown(was)} under --config-patch and is ${shown(is)} now; the patch makes it ${shown(patched ?? null)}`,
    ]
  })
}

function shown(value: Json): string {
  const text = escapeControls(inline(value))
  return text.length > 100 ? `${text.slice(0, 97)}...` : text
}

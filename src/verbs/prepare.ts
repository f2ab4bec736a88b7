// What push and plan share: the source is read, the host is asked, and the plan between them is made.
import type { Signed } from '../delta/blocks.ts'
import { VarveError } from '../errors.ts'
import type { Pool } from '../delta/pool.ts'
import { whole } from '../delta/ways.ts'
import type { Container, Generation, Survey } from '../host/survey.ts'
import { escapeControls } from '../model/bytes.ts'
import type { SourceRef, Target } from '../model/names.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Changes, Plan, Reference, Step } from '../model/plan.ts'
import { keepsVolume } from '../model/service.ts'
import { filesOf, type Tree } from '../model/tree.ts'
import { checkDevices } from '../plan/devices.ts'
import type { Loss } from '../plan/loss.ts'
import type { MtimePolicy } from '../plan/mtimes.ts'
import { countChanges, makePlan, missingContents, type Known } from '../plan/plan.ts'
import { withReferences, type Usable } from '../plan/references.ts'
import { filesToSketch, withSimilar } from '../plan/similar.ts'
import { sha256 } from '../store/hash.ts'
import type { Manifest } from '../store/manifest.ts'
import { SKETCHED, finderOf } from '../store/sketch.ts'
import { bundleFor, type Bundle, type ConfigOptions } from './config.ts'
import { checkTools, type Connected, type Context } from './context.ts'
import { knownTrees } from './host-trees.ts'
import { checkPersist, persisted } from './persist.ts'
import { askSignatures, isSignable } from './signatures.ts'
import { sizeOf, treeOf, type Layer, type Olds, type ReadSource } from './read-source.ts'
import { keepStored } from './stored-images.ts'
import { fitLayers, mostLayers, sameAs, seenOf, splitFlat, timedLayers } from './stack.ts'

export type ShipOptions = {
  readonly source: SourceRef
  readonly target: Target
  /** `overlay` where the host has it, when undefined. */
  readonly rootfs: 'overlay' | 'copy' | undefined
  readonly allowLoss: ReadonlySet<Loss>
  readonly allowDevices: boolean
  readonly mtime: MtimePolicy
  readonly config: ConfigOptions
  /** Paths in the container that are to outlive its generations, beside those that do. */
  readonly persist: readonly string[]
  readonly unpersist: readonly string[]
}

/** The layers as this host can hold them, and all else that a generation is made of. */
export type Wanted = {
  /** Bottom first. */
  readonly layers: readonly Layer[]
  readonly rootfs: 'overlay' | 'copy'
  readonly bundle: Bundle
  /** Of config.json as it is for the path "rootfs", so that it is the same for every generation. */
  readonly configSha256: string
}

/** What a push or a plan has learnt before it decides. */
export type Asked = {
  readonly options: ShipOptions
  readonly context: Context
  readonly manifest: Manifest
  readonly source: ReadSource
  readonly connected: Connected
  readonly survey: Survey
  readonly now: Now
  /** Threads that make deltas. */
  readonly pool: Pool
  /** Old contents by SHA-256 that are at hand beside the cache. */
  readonly olds?: Olds | undefined
}

export type Now = { readonly container: Container | undefined; readonly generation: Generation | undefined }

export function nowOf(survey: Survey, target: Target): Now {
  const container = survey.containers.find(({ name }) => name === target.container)
  return { container, generation: container?.generations.find(({ number }) => number === container.current) }
}

/** `rootfs` is what the host can and the user wants, unless given. Throws E_EMPTY, E_LOSS, E_OVERLAY, E_TOOL, E_CONFIG and what bundleFor throws. */
export async function wantedOn(at: Asked, rootfs: 'overlay' | 'copy' = rootfsOn(at)): Promise<Wanted> {
  const { survey, source, manifest } = at
  checkTools(survey)
  const { layers } = source
  if (layers.every(({ id, tree }) => sizeOf(id, tree, manifest).entries < 2))
    throw new VarveError('E_EMPTY', 'cannot push the source: it is empty', {
      hint: 'name the directory that holds bin, etc, usr ...',
    })
  const bundle = await bundleFor(at, persisted(at))
  checkPersist({ layers }, at)
  const configSha256 = sha256(bundle.text('rootfs'))
  if (configSha256 !== at.now.generation?.config) tellOf(bundle, at.context)
  return { layers: await layersOn(at, rootfs), rootfs, bundle, configSha256 }
}

/** Once, for the generation that begins with it. */
function tellOf({ notes, changes, volumes }: Bundle, { onEvent }: Context): void {
  const warn = (code: string, message: string): void => onEvent({ kind: 'warning', code, message })
  for (const note of notes) warn('W_PATCH', note)
  for (const why of new Set(changes.filter(({ loses }) => loses).map((change) => change.why))) {
    const paths = changes.filter((change) => change.loses && change.why === why).map(({ path }) => escapeControls(path))
    warn('W_CONFIG', `changed in config.json, since ${why}: ${paths.slice(0, 10).join(', ')}`)
  }
  for (const { path } of volumes.filter(({ mounted }) => mounted === 'memory'))
    warn('W_VOLUME', `the image's volume ${escapeControls(path)} is in memory and empty after each restart: ${keepsVolume(path)} keeps it`) // prettier-ignore
}

function rootfsOn({ survey: { tools }, options }: Asked): 'overlay' | 'copy' {
  if (options.rootfs === 'overlay' && !tools.has('overlay'))
    throw new VarveError('E_OVERLAY', 'cannot use overlay on the host: its kernel has no overlayfs', {
      hint: 'push with --rootfs copy',
    })
  return options.rootfs ?? (tools.has('overlay') && tools.filesystem !== 'overlayfs' ? 'overlay' : 'copy')
}

/** A flat source becomes a layer over what the host has, where some stack of it explains most of the source. */
async function layersOn(at: Asked, rootfs: 'overlay' | 'copy'): Promise<readonly Layer[]> {
  const { survey, source, options, manifest, now, context } = at
  const fit = { rootfs, store: context.store, survey, manifest, allowLoss: options.allowLoss }
  const layers = fitLayers(timedLayers(source.layers, options.mtime, manifest), fit)
  const [flat] = layers
  if (layers.length > 1 || flat === undefined || rootfs === 'copy' || survey.tools.tar !== 'gnu') return layers
  const own = now.generation?.stack ?? []
  if (survey.trees.includes(flat.id)) return layers
  const stacks = [own, ...survey.stacks].filter((stack) => stack.length > 1)
  if (stacks.length === 0) return layers
  const same = sameAs(flat, own, manifest)
  if (same !== undefined) return same
  return splitFlat(flat, { manifest, stacks, held: await knownTrees([flat], at), most: mostLayers(context.store) })
}

/** A generation of which a tree was set aside as damaged is not the one that is wanted. */
export function isCurrent(wanted: Wanted, { now: { generation }, survey, options }: Asked): boolean {
  const ids = wanted.layers.map((layer) => layer.id)
  const same =
    generation?.stack.join(',') === ids.join(',') &&
    generation.config === wanted.configSha256 &&
    ids.every((id) => survey.trees.includes(id))
  return same && (options.rootfs === undefined || generation.rootfs === options.rootfs)
}

export type Shipment = {
  readonly layer: Layer
  readonly plan: Plan
  /** Signatures of old files that the plan refers to, by SHA-256. */
  readonly signed: ReadonlyMap<string, Signed>
}

/**
 * What a plan relies on: all that the host holds; that, but no file as reference for another; nothing, as if it were empty.
 */
export type Reuse = 'all' | 'whole' | 'nothing'

/** Plans for the layers that the host lacks, bottom first. */
export async function plansFor(wanted: Wanted, at: Asked, reuse: Reuse = 'all'): Promise<Shipment[]> {
  const missing = wanted.layers.filter((layer) => !at.survey.trees.includes(layer.id))
  if (missing.length === 0) return []
  checkDevices(seenOf(wanted.layers), at.options.allowDevices)
  const held = reuse === 'nothing' ? [] : await knownTrees(missing, at)
  const stack = at.now.generation?.stack ?? []
  const current = stack.length === 1 && wanted.layers.length === 1 ? stack[0] : undefined
  const drafts: Draft[] = []
  for (const layer of missing) {
    const tree = layer.tree()
    const baseId = current !== undefined && held.includes(current) ? current : mostAlike(tree, held, at.manifest)
    const base = baseId === undefined ? undefined : { id: baseId, tree: treeOf(baseId, at.manifest) }
    const lacking = missingContents(tree, base?.tree)
    const others = held.filter((id) => id !== baseId)
    const elsewhere =
      lacking.length > 0 && others.length > 0 ? at.manifest.find(lacking, others) : new Map<string, never>()
    const made = makePlan({ target: { id: layer.id, tree }, base, elsewhere, stacked: wanted.layers.length > 1 })
    const trees = [...new Set([...(baseId === undefined ? [] : [baseId]), ...stack, ...others])].slice(0, MOST_TREES)
    const likely = trees.filter((id) => held.includes(id))
    drafts.push({ layer, plan: made, likely, near: likely.filter((id) => id === baseId || stack.includes(id)) })
    // by the time that the next one is unpacked the host has this one
    held.push(layer.id)
  }
  const refers = reuse === 'all' && !at.connected.direct
  if (refers && at.source.stored !== undefined)
    await keepStored(
      drafts.map((draft) => byNames(draft, at, () => true)),
      at,
    )
  const shipments: Omit<Shipment, 'signed'>[] = []
  for (const draft of drafts) {
    const plan = refers ? await referring(draft, at) : draft.plan
    at.context.onEvent({ kind: 'detail', message: planText(plan) })
    shipments.push({ layer: draft.layer, plan })
  }
  const signed = await askSignatures(
    shipments.map(({ plan }) => plan),
    at,
  )
  return shipments.map((shipment) => ({ ...shipment, signed }))
}

/** A plan without references yet, and the trees of the host where they may be: those of the container, and all likely ones. */
type Draft = {
  readonly layer: Layer
  readonly plan: Plan
  readonly near: readonly string[]
  readonly likely: readonly string[]
}

/** By names first; what names do not tell for sure, by sketches of contents that are kept here. */
async function referring(draft: Draft, at: Asked): Promise<Plan> {
  const named = byNames(draft, at, (reference) => isSignable(reference, at.survey))
  const files = filesToSketch(named)
  if (files.length === 0) return named
  const trees = treesOf(draft.likely, at.manifest)
  const old = at.manifest.contents.sketches(trees.flatMap(({ tree }) => filesOf(tree)).map(({ sha256: of }) => of))
  if (old.size === 0) return named
  const find = finderOf(old)
  const common = new Map<string, ReadonlyMap<string, number>>()
  for (const file of files) common.set(file.sha256, find(await whole(at.source.contents(file), SKETCHED)))
  return withSimilar(named, trees, common)
}

function byNames({ plan, near, likely }: Draft, at: Asked, signable: Usable['signable']): Plan {
  const usable = {
    atHand: (of: string): boolean => at.manifest.contents.has(of) || at.olds?.(of) !== undefined,
    below: (of: string): boolean => at.source.below?.(of) !== undefined,
    signable,
  }
  const changed = withReferences(plan, treesOf(near, at.manifest), usable)
  // what was there under its name, and is at hand, is in no need of a search through all trees, which are slow to read
  const surely = ({ path, sha256 }: Reference, entry: FileEntry): boolean =>
    path === entry.path && (usable.atHand(sha256) || usable.below(sha256))
  const isFound = (step: Step): boolean =>
    step.kind !== 'send' ||
    step.entry.size < LEAST_SOUGHT ||
    (step.reference !== undefined && surely(step.reference, step.entry))
  if (changed.steps.every(isFound)) return changed
  return withReferences(plan, treesOf(likely, at.manifest), usable)
}

/** Less is sent sooner than it is found in them. */
const LEAST_SOUGHT = 4096
/** References are looked for in so many trees of a host, those of the container first. */
const MOST_TREES = 12

function treesOf(ids: readonly string[], manifest: Manifest): Known[] {
  return ids.map((id) => ({ id, tree: treeOf(id, manifest) }))
}

function planText({ tree, base, drop, steps }: Plan): string {
  const count = (kind: Step['kind']): number => steps.filter((step) => step.kind === kind).length
  return (
    `tree ${tree.slice(0, 12)} ${base === undefined ? 'from nothing' : `from ${base.slice(0, 12)}`}: ` +
    `${drop.length} dropped, ${count('make')} made, ${count('send')} sent, ${count('link')} linked, ${count('copy')} copied`
  )
}

/** What changes for the container, as far as what it stands on is known here. */
export function changesOf(wanted: Wanted, { now, manifest }: Asked): Changes {
  const stack = now.generation?.stack ?? []
  const known = stack.length > 0 && stack.every((id) => manifest.summary(id) !== undefined)
  const previous = known ? seenOf(stack.map((id) => ({ tree: () => treeOf(id, manifest) }))) : undefined
  return countChanges(seenOf(wanted.layers), previous)
}

/** The tree that holds most of the contents; none where that is less than a third, for then unlinking costs more than it saves. */
function mostAlike(tree: Tree, held: readonly string[], manifest: Manifest): string | undefined {
  const contents = [...new Set(filesOf(tree).map((file) => file.sha256))]
  const best = manifest.rank(contents, held)[0]
  return best !== undefined && best.count * 3 >= contents.length ? best.tree : undefined
}

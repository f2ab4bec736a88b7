// What push and plan share: the source is read, the host is asked, and the plan between them is made.
import { gunzipSync } from 'node:zlib'
import { minimalConfig, rewriteConfig, type Process } from '../bundle/config.ts'
import type { Codec } from '../delta/codec.ts'
import { encodeDelta, type Encoded } from '../delta/encode.ts'
import { VarveError, hasCode } from '../errors.ts'
import type { Container, Generation, Survey } from '../host/survey.ts'
import { byteString } from '../model/bytes.ts'
import { decodeManifest } from '../model/manifest.ts'
import { hostText, type SourceRef, type Target } from '../model/names.ts'
import type { Plan } from '../model/plan.ts'
import { filesOf, type Tree } from '../model/tree.ts'
import { checkDevices } from '../plan/devices.ts'
import { withoutLosses, type Loss } from '../plan/loss.ts'
import { makePlan, missingContents } from '../plan/plan.ts'
import { sha256, treeId } from '../store/hash.ts'
import type { Manifest } from '../store/manifest.ts'
import { checkTools, type Connected, type Context } from './context.ts'
import { treeOf, type ReadSource } from './read-source.ts'

export type ShipOptions = {
  readonly source: SourceRef
  readonly target: Target
  /** `overlay` where the host has it, when undefined. */
  readonly rootfs: 'overlay' | 'copy' | undefined
  readonly allowLoss: ReadonlySet<Loss>
  readonly allowDevices: boolean
  readonly process: Process
}

/** The tree as this host can hold it, and all else that a generation is made of. */
export type Wanted = {
  readonly id: string
  readonly tree: () => Tree
  readonly rootfs: 'overlay' | 'copy'
  /** The text of config.json for a root filesystem at this path. */
  readonly config: (rootPath: string) => string
  /** Of the text as it is for the path "rootfs", so that it is the same for every generation. */
  readonly configSha256: string
}

export function wantedOn(survey: Survey, source: ReadSource, options: ShipOptions, manifest: Manifest): Wanted {
  checkTools(survey)
  if (source.entries < 2)
    throw new VarveError('E_EMPTY', 'cannot push the source: it is empty', {
      hint: 'name the directory that holds bin, etc, usr ...',
    })
  if (options.rootfs === 'overlay' && !survey.tools.has('overlay'))
    throw new VarveError('E_OVERLAY', 'cannot use overlay on the host: its kernel has no overlayfs', {
      hint: 'push with --rootfs copy',
    })
  const given = source.config
  const config = (rootPath: string): string =>
    given === undefined
      ? minimalConfig(options.process, options.target.container, rootPath)
      : rewriteConfig(given, rootPath)
  const fitted =
    survey.tools.tar === 'busybox'
      ? fittedTree(source.tree(), options.allowLoss, manifest)
      : { id: source.id, tree: source.tree }
  return {
    ...fitted,
    rootfs:
      options.rootfs ?? (survey.tools.has('overlay') && survey.tools.filesystem !== 'overlayfs' ? 'overlay' : 'copy'),
    config,
    configSha256: sha256(config('rootfs')),
  }
}

function fittedTree(tree: Tree, allowed: ReadonlySet<Loss>, manifest: Manifest): { id: string; tree: () => Tree } {
  const fitted = withoutLosses(tree, allowed)
  const id = treeId(fitted)
  manifest.keepTree(id, fitted)
  return { id, tree: () => fitted }
}

export type Now = { readonly container: Container | undefined; readonly generation: Generation | undefined }

export function nowOf(survey: Survey, target: Target): Now {
  const container = survey.containers.find(({ name }) => name === target.container)
  return { container, generation: container?.generations.find(({ number }) => number === container.current) }
}

/** A generation whose tree was set aside as damaged is not the one that is wanted. */
export function isCurrent(
  wanted: Wanted,
  { generation }: Now,
  { survey, options }: { survey: Survey; options: ShipOptions },
): boolean {
  const same =
    generation?.tree === wanted.id && generation.config === wanted.configSha256 && survey.trees.includes(wanted.id)
  return same && (options.rootfs === undefined || generation.rootfs === options.rootfs)
}

/** Plans against what the host holds; where `reuse` is false, as if it held nothing. */
export async function planFor(
  wanted: Wanted,
  at: { connected: Connected; survey: Survey; now: Now; manifest: Manifest; options: ShipOptions; reuse: boolean },
): Promise<Plan> {
  const tree = wanted.tree()
  checkDevices(tree, at.options.allowDevices)
  const held = at.reuse ? await knownTrees(at) : []
  const current = at.now.generation?.tree
  const previous =
    current !== undefined && at.manifest.summary(current) !== undefined ? treeOf(current, at.manifest) : undefined
  const baseId = current !== undefined && held.includes(current) ? current : mostAlike(tree, held, at.manifest)
  const base = baseId === undefined ? undefined : { id: baseId, tree: treeOf(baseId, at.manifest) }
  const missing = missingContents(tree, base?.tree)
  const others = held.filter((id) => id !== baseId)
  const elsewhere =
    missing.length > 0 && others.length > 0 ? at.manifest.find(missing, others) : new Map<string, never>()
  return makePlan({ target: { id: wanted.id, tree }, base, previous, elsewhere })
}

/** The tree that holds most of the contents; none where that is less than a third, for then unlinking costs more than it saves. */
function mostAlike(tree: Tree, held: readonly string[], manifest: Manifest): string | undefined {
  const contents = [...new Set(filesOf(tree).map((file) => file.sha256))]
  const best = manifest.rank(contents, held)[0]
  return best !== undefined && best.count * 3 >= contents.length ? best.tree : undefined
}

/** The host's trees whose entries are known here; those that are not are asked for, in one round trip. */
async function knownTrees({
  connected,
  survey,
  manifest,
}: {
  connected: Connected
  survey: Survey
  manifest: Manifest
}): Promise<string[]> {
  if (survey.epoch === undefined) return []
  const name = hostText(connected.host)
  const remembered = manifest.holdings(name, survey.epoch) ?? survey.trees
  const unknown = remembered.filter((id) => manifest.summary(id) === undefined)
  await Promise.all(
    unknown.map(async (id) => {
      const text = await fetchManifest(connected, id)
      if (text !== undefined) manifest.keepTree(id, decodeManifest(text))
    }),
  )
  manifest.keepHoldings(name, survey.epoch, remembered)
  return remembered.filter((id) => manifest.summary(id) !== undefined)
}

async function fetchManifest(
  connected: Connected,
  id: string,
  actual = false,
): Promise<ReturnType<typeof byteString> | undefined> {
  try {
    const { payload } = await connected.session.ask(['manifest', id, ...(actual ? ['actual'] : [])])
    if (payload === undefined) return undefined
    const bytes = gunzipSync(payload, { maxOutputLength: 1 << 30 })
    // a host's word is taken only where its hash is the id
    return actual || sha256(bytes) === id ? byteString(bytes.toString('latin1')) : undefined
  } catch (error) {
    if (hasCode(error, 'E_BASE_MISSING')) return undefined
    throw error
  }
}

function codecFor(survey: Survey, connected: Connected): Codec {
  if (connected.host.kind === 'local') return 'none'
  return (['zstd', 'xz', 'gzip'] as const).find((codec) => survey.tools.has(codec)) ?? 'none'
}

export function deltaOf(
  plan: Plan,
  at: { source: ReadSource; wanted: Wanted; survey: Survey; connected: Connected; context: Context },
): Encoded {
  return encodeDelta(plan, {
    tree: at.wanted.tree(),
    dialect: at.survey.tools.tar === 'busybox' ? 'gnu' : 'pax',
    codec: codecFor(at.survey, at.connected),
    contents: at.source.contents,
    onProgress: (contents) =>
      at.context.onEvent({ kind: 'send', contents, ofContents: plan.bytes.changed, sent: at.connected.traffic().sent }),
  })
}

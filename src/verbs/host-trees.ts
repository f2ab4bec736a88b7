// The trees that a host holds and whose entries are known here: of those that matter what is not known is asked for.
import { hasCode } from '../errors.ts'
import { misread, number, treeIdOf } from '../host/replies.ts'
import type { Survey } from '../host/survey.ts'
import { byteString } from '../model/bytes.ts'
import { decodeManifest, encodeManifest } from '../model/manifest.ts'
import { hostText } from '../model/names.ts'
import { filesOf, type Tree } from '../model/tree.ts'
import { sha256 } from '../store/hash.ts'
import type { Manifest } from '../store/manifest.ts'
import { HASH_DIGITS, joinLines, knownGroups, unknownLines, type Outline } from '../store/outline.ts'
import { defaultLimits, openDecompressed } from '../tar/decompress.ts'
import type { Connected } from './context.ts'
import { treeOf, type Layer } from './read-source.ts'

type At = {
  readonly connected: Connected
  readonly survey: Survey
  readonly manifest: Manifest
  readonly now: { readonly generation: { readonly stack: readonly string[] } | undefined }
}

/** So many contents stand for all, and beside them the largest ones. */
const SAMPLE = 28
const LARGEST = 4
/** What a line of a manifest costs, compressed; what an entry that need not be sent saves beside its contents. */
const LINE_COST = 20
const ENTRY_GAIN = 32
/** Contents that are sent shrink to about this part. */
const SHRUNK = 1 / 4
/** Where a container's own tree holds nothing of the source, its files are references for new ones all the same. */
const LEAST_SHARE = 1 / 8
/** A stack that holds something is worth this much on its own: containers that stand on one layer share it on the host's disk. */
const LEAST_GAIN = 2048
/** Lines are looked for in so many trees of the host that are known, beside the source's. */
const MOST_KNOWN = 12

const LARGEST_MANIFEST = 1 << 30

/** What a survey left open is asked once. */
const asked = new WeakSet<Survey>()

/**
 * The host's trees whose entries are known here. Of the others it is asked what matters for these layers: what their
 * container stands on, and stacks that hold what nothing else holds, where to know them is worth more than it costs; then
 * the same again for contents that are still nowhere. Each takes two round trips at most, and one more where a host said
 * something else than what its tree's id says.
 */
export async function knownTrees(layers: readonly Layer[], at: At): Promise<string[]> {
  const { connected, survey, manifest } = at
  // nothing is asked where all is known, or nobody can be
  if (survey.trees.every((id) => manifest.summary(id) !== undefined)) return [...survey.trees]
  if (survey.epoch === undefined) return []
  const name = hostText(connected.host)
  const held = manifest.holdings(name, survey.epoch) ?? survey.trees
  if (!asked.has(survey) && (await learn(held, layers, at))) await learn(held, layers, at)
  asked.add(survey)
  manifest.keepHoldings(name, survey.epoch, held)
  return held.filter((id) => manifest.summary(id) !== undefined)
}

/** Whether more is known than before. */
async function learn(held: readonly string[], layers: readonly Layer[], at: At): Promise<boolean> {
  const { connected, manifest } = at
  const isUnknown = (id: string): boolean => held.includes(id) && manifest.summary(id) === undefined
  const own = (at.now.generation?.stack ?? []).filter(isUnknown)
  const stacks = [own, ...otherStacks(at.survey.stacks, held.filter(isUnknown), own)]
  const trees = layers.map((layer) => layer.tree())
  const known = held.filter((id) => !isUnknown(id))
  const wanted = wantedOf(trees, known, manifest)
  if (known.length === held.length || (own.length === 0 && wanted.size === 0)) return false
  const sample = sampleOf(wanted)
  const { records, payload } = await connected.session.ask([
    'outline',
    sample.join(',') || '-',
    ...stacks.map((stack) => stack.join(',') || '-'),
  ])
  const likely = readLikely(records, (await unpacked(payload)).toString('latin1'))
  const contents = [...wanted.values()].reduce((sum, size) => sum + size, 0) * SHRUNK
  const entries = trees.reduce((sum, tree) => sum + tree.entries.length, 0)
  const texts = [...trees, ...known.slice(0, MOST_KNOWN).map((id) => treeOf(id, manifest))].map(textOf)
  const unknown = likely.flatMap(({ stack, hits, outlines }) => {
    const share = sample.length === 0 ? 1 : hits / sample.length
    const gain =
      stack === 1
        ? Math.max(share, LEAST_SHARE) * (contents + entries * ENTRY_GAIN)
        : Math.max(share * (contents + wanted.size * ENTRY_GAIN), LEAST_GAIN)
    const found = outlines.map((outline) => ({ outline, groups: knownGroups(outline, texts) }))
    const lines = found.reduce((sum, { outline, groups }) => sum + outline.group * groups.filter((group) => group === undefined).length, 0) // prettier-ignore
    return lines * LINE_COST <= gain ? found : []
  })
  await Promise.all(unknown.filter(({ outline }) => isUnknown(outline.id)).map((found) => fetchTree(found, at)))
  return held.some((id) => !isUnknown(id) && !known.includes(id))
}

/** What other containers stand on, and each tree that is in none of them for itself; of those only what is not known. */
function otherStacks(
  stacks: readonly (readonly string[])[],
  unknown: readonly string[],
  own: readonly string[],
): string[][] {
  // prettier-ignore
  const others = stacks.map((stack) => stack.filter((id) => unknown.includes(id)))
  const stacked = new Set([...own, ...others.flat()])
  return [...others.filter((stack) => stack.length > 0), ...unknown.filter((id) => !stacked.has(id)).map((id) => [id])]
}

/** The contents that no known tree of the host holds, and their sizes. */
function wantedOf(trees: readonly Tree[], known: readonly string[], manifest: Manifest): Map<string, number> {
  const files = trees.flatMap(filesOf).filter(({ size }) => size > 0)
  const wanted = new Map(files.map((file) => [file.sha256, file.size]))
  for (const found of manifest.find([...wanted.keys()], known).keys()) wanted.delete(found)
  return wanted
}

function sampleOf(wanted: ReadonlyMap<string, number>): string[] {
  const largest = [...wanted].toSorted((a, b) => b[1] - a[1]).slice(0, LARGEST)
  // hashes are random numbers already
  const some = [...wanted.keys()].toSorted((a, b) => (a < b ? -1 : 1)).slice(0, SAMPLE)
  return [...new Set([...some, ...largest.map(([hash]) => hash)].map((hash) => hash.slice(0, HASH_DIGITS)))]
}

type Likely = { readonly stack: number; readonly hits: number; readonly outlines: Outline[] }

/** "like STACK HITS" and behind it its outlines, "outline ID GROUP LINES", whose hashes are lines of the text. */
function readLikely(records: readonly (readonly string[])[], text: string): Likely[] {
  const likely: Likely[] = []
  const hashes = text.split('\n')
  let at = 0
  for (const [kind, ...words] of records) {
    if (kind === 'like') likely.push({ stack: number(words[0]), hits: number(words[1]), outlines: [] })
    else if (kind === 'outline') {
      const [id, group, lines] = [treeIdOf(words[0]), number(words[1]), number(words[2])]
      const end = at + Math.ceil(lines / group)
      if (!(end < hashes.length)) throw misread('an outline is too short')
      likely.at(-1)?.outlines.push({ id, group, lines, hashes: hashes.slice(at, end) })
      at = end
    } else throw misread('it has a record of an unknown kind')
  }
  return likely
}

/** A host's word is taken only where its hash is the id. */
async function fetchTree(
  { outline, groups }: { outline: Outline; groups: (Uint8Array | undefined)[] },
  { connected, manifest }: At,
): Promise<void> {
  // prettier-ignore
  const { id } = outline
  const lines = unknownLines(outline, groups)
  const unknown = lines === '' ? new Uint8Array() : await fetchManifest(connected, [id, lines])
  let text = unknown && joinLines(outline, groups, unknown)
  if (text === undefined || sha256(text) !== id) text = await fetchManifest(connected, [id])
  if (text !== undefined && sha256(text) === id)
    manifest.keepTree(id, decodeManifest(byteString(Buffer.from(text).toString('latin1'))))
}

/** Undefined where the host has the tree no more. */
async function fetchManifest(connected: Connected, words: readonly string[]): Promise<Uint8Array | undefined> {
  try {
    return await manifestText(connected, words)
  } catch (error) {
    if (hasCode(error, 'E_BASE_MISSING')) return undefined
    throw error
  }
}

/** What the host answers to `manifest`, as it stands in the store or on the disk. Throws E_BASE_MISSING. */
export async function manifestText(connected: Connected, words: readonly string[]): Promise<Buffer> {
  const { payload } = await connected.session.ask(['manifest', ...words])
  return unpacked(payload)
}

async function unpacked(payload: Uint8Array = new Uint8Array()): Promise<Buffer> {
  const archive = "the host's answer"
  const limits = { ...defaultLimits, bytes: LARGEST_MANIFEST }
  const pieces: Uint8Array[] = []
  const { chunks } = await openDecompressed(oneOf(payload), { archive, limits, onWarning: () => {} })
  for await (const chunk of chunks) pieces.push(chunk)
  return Buffer.concat(pieces)
}

async function* oneOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function textOf(tree: Tree): Uint8Array {
  return Buffer.concat(Array.from(encodeManifest(tree), (piece) => Buffer.from(piece, 'latin1')))
}

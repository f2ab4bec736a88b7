// Takes old contents that are not kept here out of the images that the source's engine still has, into the content cache.
import { whole } from '../delta/ways.ts'
import { messageOf } from '../errors.ts'
import type { StoredImage } from '../image/open.ts'
import { escapeControls } from '../model/bytes.ts'
import type { Plan, Reference } from '../model/plan.ts'
import { sha256 } from '../store/hash.ts'
import { CACHE_LIMIT } from './cache.ts'
import { paceFor, thriftOf } from './pace.ts'
import type { Asked } from './prepare.ts'
import { chainsOf } from './read-image.ts'
import type { ReadSource } from './read-source.ts'
import { oldsOf } from './signatures.ts'

/** What is less is not worth to ask the engine. */
const LEAST_SUM = 256 << 10
/** What is larger is sent whole: see delta/ways.ts. */
const LARGEST = 256 << 20
/** Of new contents so much less is sent where the old ones are here. */
const SAVED = 1 / 4
/** Bytes a second that an engine saves and that are read here: 170 MB took 1.4 s from memory. */
const SAVES = 100e6
/** So many images are read whole at most. */
const MOST_READ = 3

/** By SHA-256; `gain` is how much of a new file may be in it. */
type Wanted = Map<string, Reference & { readonly gain: number }>

const asked = new WeakSet<ReadSource>()

/** Once a push, for what these plans would refer to. What cannot be read costs bytes only. */
export async function keepStored(plans: readonly Plan[], at: Asked): Promise<void> {
  const { source, manifest, context } = at
  const wanted = wantedOf(plans, at)
  const all = wanted.size
  if (source.stored === undefined || asked.has(source) || gainOf(wanted.values()) < LEAST_SUM) return
  asked.add(source)
  const detail = (message: string): void => context.onEvent({ kind: 'detail', message })
  try {
    let images = await source.stored()
    await readDirectories(images, wanted, at)
    for (let i = 0; i < MOST_READ && wanted.size > 0; i++) {
      const worth = images
        .map((image) => ({ image, bytes: worthOf(image, wanted, at) }))
        .filter(({ bytes }) => bytes > 0)
      const [best] = worth.toSorted((a, b) => b.bytes - a.bytes)
      if (best === undefined) break
      await readImage(best.image, wanted, at)
      images = images.filter((image) => image !== best.image)
    }
  } catch (error) {
    detail(`the engine's images cannot be read: ${escapeControls(messageOf(error))}`)
  }
  manifest.contents.commit(CACHE_LIMIT)
  detail(`of ${all} old files that are not kept here ${all - wanted.size} were in images of the engine`)
}

function wantedOf(plans: readonly Plan[], at: Asked): Wanted {
  const wanted: Wanted = new Map()
  for (const step of plans.flatMap(({ steps }) => steps)) {
    if (step.kind !== 'send' || step.reference === undefined) continue
    const { entry, reference } = step
    if (at.manifest.contents.has(reference.sha256) || oldsOf(reference.sha256, at) !== undefined) continue
    const gain = Math.min(entry.size, reference.size)
    if (Math.max(entry.size, reference.size) <= LARGEST) wanted.set(reference.sha256, { ...reference, gain })
  }
  return wanted
}

function gainOf(files: Iterable<{ readonly gain: number }>): number {
  return Array.from(files).reduce((sum, { gain }) => sum + gain, 0)
}

/** What this user may read there takes no time; the paths of a host's tree are those of the layer that it was. */
async function readDirectories(images: readonly StoredImage[], wanted: Wanted, { manifest }: Asked): Promise<void> {
  const places = new Map(images.flatMap(({ directories, filesAt }) => directories.map((each) => [each, filesAt] as const))) // prettier-ignore
  for (const [directory, filesAt] of places)
    for await (const bytes of filesAt(directory, wanted.values())) take(bytes, wanted, manifest)
}

async function readImage(image: StoredImage, wanted: Wanted, { manifest }: Asked): Promise<void> {
  const sizes = new Set(Array.from(wanted.values(), ({ size }) => size))
  for await (const file of image.files(sizes)) {
    take(await whole(file), wanted, manifest)
    if (wanted.size === 0) return
  }
}

/** It is what it is by its hash, wherever it was. */
function take(bytes: Uint8Array, wanted: Wanted, { contents }: Asked['manifest']): void {
  const of = sha256(bytes)
  if (wanted.delete(of)) contents.add(of, bytes)
}

/** The bytes that are not sent if it is read, less those that the link would have taken meanwhile. */
function worthOf(image: StoredImage, wanted: Wanted, at: Asked): number {
  const { manifest, source } = at
  const trees = chainsOf(image.diffIds).map((chain) => manifest.layer(chain) ?? '')
  const known = trees.filter((id) => manifest.summary(id) !== undefined)
  const isLikely = image.isKin || image.diffIds[0] === source.layers[0]?.origin
  const held = manifest.find([...wanted.keys()], known)
  const mayHold = (of: string): boolean => held.has(of) || (isLikely && known.length < trees.length)
  // as patient as for what is sent to a host that has no old contents for it
  const rate = Math.min(paceFor(at).bytesPerSecond, thriftOf(at))
  return gainOf([...wanted.values()].filter((file) => mayHold(file.sha256))) * SAVED - (image.bytes / SAVES) * rate
}

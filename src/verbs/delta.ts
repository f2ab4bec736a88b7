// Makes the bytes of a plan for a host: each file in the way that is smallest there, from old contents that are at hand.
import { setImmediate as turn } from 'node:timers/promises'
import type { Codec, Pace } from '../delta/effort.ts'
import { encodeDelta, type Encoded } from '../delta/encode.ts'
import { NO_WAYS, chooseWays, whole, type HostCan, type Segment, type Ways } from '../delta/ways.ts'
import type { Survey } from '../host/survey.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Plan } from '../model/plan.ts'
import { CACHE_LIMIT } from './cache.ts'
import type { Asked, Reuse, Shipment } from './prepare.ts'
import { treeOf } from './read-source.ts'
import { oldsOf } from './signatures.ts'

/** Where the host does not say how much memory is free. */
const USUAL_KIB = 512 << 10
const LEAST_BYTES = 8 << 20
const MOST_BYTES = 128 << 20

export async function deltaOf(
  { layer, plan, signed }: Shipment,
  at: Asked,
  { pace, reuse = 'all' }: { readonly pace: Pace; readonly reuse?: Reuse },
): Promise<Encoded> {
  const cache = at.manifest.contents
  const { source, survey, connected, pool } = at
  const { contents } = source
  await fetchOlds(plan, at)
  const old = (sha256: string): Uint8Array | undefined => cache.get(sha256)
  const can = hostCan(survey)
  const ways = connected.direct ? NO_WAYS : told(chooseWays(plan, { contents, old, signed, can, pace, pool }), at)
  // rsync's stream has no patches, but finds blocks there and compresses well
  const thrifty = plan.base !== undefined && ((signed?.size ?? 0) > 0 || !(can.prefix === 'zstd' || can.patch))
  return encodeDelta(plan, {
    tree: layer.tree(),
    dialect: survey.tools.tar === 'busybox' ? 'gnu' : 'pax',
    ...(connected.direct ? {} : { packing: { codecs: codecsOf(survey), pace, pool, thrifty } }),
    contents,
    ways,
    old,
    ...(can.prefix === undefined ? {} : { frames: can.prefix }),
    x86: survey.tools.machine === 'x86_64' && survey.tools.has('xz_x86'),
    ...(plan.base !== undefined &&
    reuse === 'all' &&
    !connected.direct &&
    survey.tools.tar === 'gnu' &&
    survey.tools.has('perl')
      ? { base: treeOf(plan.base, at.manifest) }
      : {}),
    onProgress: (told) =>
      at.context.onEvent({
        kind: 'send',
        contents: told,
        ofContents: plan.bytes.changed,
        sent: connected.traffic().sent,
      }),
  })
}

/** The same ways; what was chosen is told at the end. */
function told({ patched, segments }: Ways, { context }: Asked): Ways {
  const counted = async function* (): AsyncGenerator<Segment> {
    let files = 0
    for await (const segment of segments) {
      files += segment.files.length
      yield segment
    }
    context.onEvent({
      kind: 'detail',
      message: `of what is sent ${patched.size} files are patches and ${files} are compressed after old contents`,
    })
  }
  return { patched, segments: counted() }
}

/** Old contents that are at hand elsewhere join the cache, where the planner refers to them. */
async function fetchOlds({ steps }: Plan, at: Asked): Promise<void> {
  const { manifest } = at
  let added = false
  for (const step of steps) {
    const sha256 = step.kind === 'send' ? step.reference?.sha256 : undefined
    const read = sha256 === undefined || manifest.contents.has(sha256) ? undefined : oldsOf(sha256, at)
    if (sha256 === undefined || read === undefined) continue
    manifest.contents.add(sha256, await whole(read()))
    added = true
  }
  if (added) manifest.contents.commit(CACHE_LIMIT)
}

/** A quarter of what is free for one segment: the old bytes and the new ones are both in memory there, and the page cache is. */
function hostCan({ tools }: Survey): HostCan {
  const free = ((tools.memoryKib ?? USUAL_KIB) * 1024) / 4
  const patch = tools.has('perl') || tools.has('python3')
  return {
    prefix: tools.has('patch_from') ? 'zstd' : tools.has('xz') && tools.has('dd') ? 'xz' : undefined,
    patch,
    copies: patch || tools.has('dd'),
    memory: Math.max(LEAST_BYTES, Math.min(MOST_BYTES, free)),
  }
}

/**
 * What was sent joins the content cache, read once more: while a delta is made, the processor has other things to do. What cannot be
 * read any more does not. Commit it afterwards.
 */
export async function keepSent(shipments: readonly Shipment[], { source, manifest, connected }: Asked): Promise<void> {
  if (connected.direct) return
  const { contents: cache } = manifest
  const read = async (file: FileEntry): Promise<Uint8Array> => whole(source.contents(file))
  for (const { entry } of shipments.flatMap(({ plan }) => plan.steps.filter((step) => step.kind === 'send'))) {
    if (cache.has(entry.sha256)) continue
    const bytes = await read(entry).catch(() => undefined)
    if (bytes?.length === entry.size) cache.add(entry.sha256, bytes)
    await turn() // the connection has something to say, too
  }
}

/** gzip is for hosts that have no better: it never arrives sooner. */
function codecsOf({ tools }: Survey): Codec[] {
  const strong = (['zstd', 'xz'] as const).filter((codec) => tools.has(codec))
  return strong.includes('zstd') || !tools.has('gzip') ? strong : [...strong, 'gzip']
}

// Makes the bytes of a plan for a host: each file in the way that is smallest there, from old contents that are at hand.
import type { Codec, Pace } from '../delta/effort.ts'
import { encodeDelta, type Encoded } from '../delta/encode.ts'
import { NO_WAYS, chooseWays, whole, type Contents, type HostCan } from '../delta/ways.ts'
import type { Survey } from '../host/survey.ts'
import type { Plan } from '../model/plan.ts'
import type { ContentCache } from '../store/cache.ts'
import { CACHE_LIMIT } from './cache.ts'
import type { Asked, Reuse, Shipment } from './prepare.ts'
import { treeOf } from './read-source.ts'
import { oldsOf } from './signatures.ts'

/** Where the host does not say how much memory is free. */
const USUAL_KIB = 512 << 10
const LEAST_BYTES = 8 << 20
const MOST_BYTES = 128 << 20

/** What is sent is kept in the content cache where `keep` is true; commit it afterwards. */
export async function deltaOf(
  { layer, plan, signed }: Shipment,
  at: Asked,
  { keep, pace, reuse = 'all' }: { readonly keep: boolean; readonly pace: Pace; readonly reuse?: Reuse },
): Promise<Encoded> {
  const cache = at.manifest.contents
  const { source, survey, connected, pool } = at
  const contents = keep && !connected.direct ? kept(source.contents, cache) : source.contents
  await fetchOlds(plan, at)
  const old = (sha256: string): Uint8Array | undefined => cache.get(sha256)
  const can = hostCan(survey)
  const ways = connected.direct ? NO_WAYS : await chooseWays(plan, { contents, old, signed, can, pace, pool })
  // rsync's stream has no patches, but finds blocks there and compresses well
  const thrifty = plan.base !== undefined && ((signed?.size ?? 0) > 0 || !(can.prefix === 'zstd' || can.patch))
  if (ways !== NO_WAYS)
    at.context.onEvent({
      kind: 'detail',
      message: `of what is sent ${ways.patched.size} files are patches and ${ways.segments.reduce((sum, { files }) => sum + files.length, 0)} are compressed after old contents`,
    })
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

/** The same contents, each added to the cache once it was read whole. */
function kept(contents: Contents, cache: ContentCache): Contents {
  return (file) => {
    const bytes = contents(file)
    if (cache.has(file.sha256)) return bytes
    return (async function* () {
      const all = await whole(bytes)
      if (all.length === file.size) cache.add(file.sha256, all)
      yield all
    })()
  }
}

/** gzip is for hosts that have no better: it never arrives sooner. */
function codecsOf({ tools }: Survey): Codec[] {
  const strong = (['zstd', 'xz'] as const).filter((codec) => tools.has(codec))
  return strong.includes('zstd') || !tools.has('gzip') ? strong : [...strong, 'gzip']
}

// Finds the one image that is meant among what a layout or a registry offers, through indexes of indexes.
import { VarveError } from '../errors.ts'
import { CONFIG_LIMIT, MANIFEST_LIMIT, readText, type Blob } from './blobs.ts'
import { parseConfig } from './config.ts'
import { digestOf, parseManifest, type Descriptor, type Digest, type Manifest } from './manifest.ts'
import { bestOf, platformText, type Platform } from './platform.ts'

/** Where manifests and blobs are named by digest: a layout, an archive of one, or a registry. */
export type Origin = AsyncDisposable & {
  /** Without the digest, e.g. `oci:dir`. */
  readonly name: string
  /** What was named: one manifest, or several that differ by platform. */
  readonly roots: readonly Descriptor[]
  readonly manifest: (descriptor: Descriptor) => Promise<Blob>
  readonly blob: (descriptor: Descriptor) => Promise<Blob>
}

export type Chosen = {
  readonly digest: Digest
  readonly manifest: Manifest & { readonly kind: 'image' }
  /** It was one of several. */
  readonly byPlatform: boolean
}

/** An image before its config was read. */
export type FoundImage = {
  readonly name: string
  readonly manifestDigest: Digest | undefined
  readonly config: Blob
  readonly layers: readonly (Blob & { readonly mediaType: string })[]
  /** It was chosen for its platform. */
  readonly byPlatform: boolean
}

const DEEPEST = 4

/** Throws E_PLATFORM, E_OCI_DEPTH, E_DIGEST, E_BLOB_MISSING and the codes of parseManifest. */
export async function chooseImage(origin: Origin, wanted: Platform): Promise<Chosen> {
  const seen = new Set<Digest>()
  const offered: Platform[] = []

  const load = async (descriptor: Descriptor, depth: number): Promise<Manifest> => {
    const what = `the manifest ${descriptor.digest} of "${origin.name}"`
    if (depth > DEEPEST)
      throw new VarveError('E_OCI_DEPTH', `cannot use ${what}: it is in an index within ${DEEPEST} others`)
    const bytes = await readText(await origin.manifest(descriptor), what, MANIFEST_LIMIT)
    return parseManifest(bytes, what, descriptor.mediaType === '' ? undefined : descriptor.mediaType)
  }

  const find = async (descriptors: readonly Descriptor[], depth: number): Promise<Chosen | undefined> => {
    const fresh: Descriptor[] = []
    for (const descriptor of descriptors) {
      if (seen.has(descriptor.digest)) continue // also what an index lists twice
      seen.add(descriptor.digest)
      fresh.push(descriptor)
      if (descriptor.platform !== undefined) offered.push(descriptor.platform)
    }
    const best = bestOf(fresh, wanted, ({ platform }) => platform)
    if (best !== undefined) return into(best, depth)
    for (const descriptor of fresh.filter(({ platform }) => platform === undefined)) {
      const found = await into(descriptor, depth)
      if (found !== undefined) return found
    }
    return undefined
  }

  const into = async (descriptor: Descriptor, depth: number): Promise<Chosen | undefined> => {
    const manifest = await load(descriptor, depth)
    if (manifest.kind === 'index') return find(manifest.manifests, depth + 1)
    if (descriptor.platform === undefined) {
      const platform = await platformOf(manifest.config, origin)
      offered.push(platform)
      if (bestOf([platform], wanted, (own) => own) === undefined) return undefined
    }
    return { digest: descriptor.digest, manifest, byPlatform: true }
  }

  const [only, ...others] = origin.roots
  if (only !== undefined && others.length === 0) {
    const manifest = await load(only, 0)
    if (manifest.kind === 'image') return { digest: only.digest, manifest, byPlatform: false }
  }
  const found = await find(origin.roots, 0)
  if (found !== undefined) return found
  const list = offered.map((platform) => platformText(platform)).filter((text) => text !== 'unknown/unknown')
  throw new VarveError('E_PLATFORM', `cannot use "${origin.name}": it has no image for ${platformText(wanted)}`, {
    hint: `it has: ${list.slice(0, 20).join(', ') || 'none'}`,
  })
}

async function platformOf(config: Descriptor, origin: Origin): Promise<Platform> {
  const what = `the config ${config.digest} of "${origin.name}"`
  return parseConfig(await readText(await origin.blob(config), what, CONFIG_LIMIT), what).platform
}

/** A manifest whose bytes are known already, as a root. */
export function rootOf(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length, platform: undefined, refName: undefined }
}

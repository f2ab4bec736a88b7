// Opens a container image wherever it is, and gives its layers one by one, unread.
import { VarveError } from '../errors.ts'
import { escapeControls, type ByteString } from '../model/bytes.ts'
import type { Limits } from '../tar/decompress.ts'
import type { TarWarning } from '../tar/read.ts'
import { CONFIG_LIMIT, openLayer, readText, type Blob } from './blobs.ts'
import { chooseImage, type FoundImage, type Origin } from './choose.ts'
import { parseConfig } from './config.ts'
import { openDockerArchive } from './docker-archive.ts'
import { archiveFiles, directoryFiles } from './files.ts'
import { openLayout } from './layout.ts'
import { digestOf, type Digest } from './manifest.ts'
import { distance, platformText, thisPlatform, type Platform } from './platform.ts'
import { openRegistry } from './registry.ts'

/**
 * What stands behind the colon is `location`, as in
 * https://github.com/containers/image/blob/v5.30.0/docs/containers-transports.5.md
 */
export type ImageRef = {
  readonly kind: 'oci' | 'oci-archive' | 'docker-archive' | 'docker'
  readonly location: string
}

export type ImageOptions = {
  /** Must be met where it is given; otherwise this machine's architecture decides where there is a choice. */
  readonly platform?: Platform
  /** Also registries other than this machine's own over plain HTTP. */
  readonly insecure?: boolean
  /** For auth files and helpers: REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG, HOME, PATH. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly limits?: Limits
  readonly onWarning: (warning: TarWarning) => void
}

export type ImageLayer = {
  /** Of the blob as it is kept; undefined where an archive of Docker does not say it. */
  readonly digest: Digest | undefined
  /** Of the uncompressed archive. */
  readonly diffId: Digest
  readonly mediaType: string
  /** Bytes of the blob; undefined where an engine does not say it. */
  readonly size: number | undefined
  /** The command that made it, safe at a terminal. */
  readonly history: string | undefined
  /** The uncompressed archive. Throws E_DIGEST before its end where it is not what its digests say. */
  readonly open: () => AsyncIterable<Uint8Array>
}

export type Image = AsyncDisposable & {
  /** What was opened, with the digest that it had: of the manifest, or of the config where there is no manifest. */
  readonly name: string
  readonly platform: Platform
  /** Undefined for `docker-archive`, which has no manifest in the sense of a registry. */
  readonly manifestDigest: Digest | undefined
  /** The text of the image config. */
  readonly config: string
  readonly configDigest: Digest
  /** Bottom first. */
  readonly layers: readonly ImageLayer[]
  /** Is told which layers will be opened, before the first is, where the image only comes as a whole. */
  readonly expect?: (diffIds: readonly Digest[]) => void
  /** What is stored beside this image and may hold older contents, itself included, the newest first. */
  readonly stored?: () => Promise<readonly StoredImage[]>
}

/** An image that was not asked for: nothing that it gives is believed before it is hashed. */
export type StoredImage = {
  /** Bottom first. */
  readonly diffIds: readonly string[]
  /** It has a name of the source's, but for the tag, or none any more, as what was built again. */
  readonly isKin: boolean
  readonly bytes: number
  /** Where the files of its layers are on this machine's disk, as far as they are there and it says so. */
  readonly directories: readonly string[]
  /** Those that are in such a directory at these paths, and of these sizes. */
  readonly filesAt: (
    directory: string,
    places: Iterable<{ readonly path: ByteString; readonly size: number }>,
  ) => AsyncGenerator<Uint8Array>
  /** All files of these sizes, for which the whole image is read; each is to be read before the next is asked for. */
  readonly files: (sizes: ReadonlySet<number>) => AsyncGenerator<AsyncIterable<Uint8Array>>
}

/**
 * Throws E_SOURCE, E_IMAGE and what bad images are called in errors.ts; for a registry also E_CONFIG (auth files),
 * E_REGISTRY, E_REGISTRY_AUTH and E_CONNECT, its layers also E_LOST.
 */
export async function openImage(ref: ImageRef, options: ImageOptions): Promise<Image> {
  const { kind, location } = ref
  const shown = escapeControls(`${kind}:${location}`)
  if (kind === 'docker') return fromOrigin(await openRegistry(location, options), options)
  const { path, reference } = splitReference(location)
  if (path === '')
    throw new VarveError('E_USAGE', `cannot read "${shown}": it names no ${kind === 'oci' ? 'directory' : 'file'}`)
  const name = escapeControls(`${kind}:${path}`)
  const files =
    kind === 'oci'
      ? await directoryFiles(path)
      : await archiveFiles(path, { followLinks: kind === 'docker-archive', onWarning: options.onWarning })
  return closing(files, async () => {
    if (kind !== 'docker-archive') return fromOrigin(await openLayout(files, name, reference), options)
    return makeImage(await openDockerArchive(files, name, reference), { options, closes: files })
  })
}

async function fromOrigin(origin: Origin, options: ImageOptions): Promise<Image> {
  return closing(origin, async () => {
    const { digest, manifest, byPlatform } = await chooseImage(origin, options.platform ?? thisPlatform())
    const layers = manifest.layers.map((layer) => ({
      digest: layer.digest,
      mediaType: layer.mediaType,
      size: layer.size,
      bytes: () => later(() => origin.blob(layer)),
    }))
    const found = {
      name: origin.name,
      manifestDigest: digest,
      config: await origin.blob(manifest.config),
      layers,
      byPlatform,
    }
    return makeImage(found, { options, closes: origin })
  })
}

async function makeImage(
  found: FoundImage,
  { options, closes }: { readonly options: ImageOptions; readonly closes: AsyncDisposable },
): Promise<Image> {
  const { name, manifestDigest } = found
  const what = `the config of "${name}"`
  const bytes = await readText(found.config, what, CONFIG_LIMIT)
  const config = parseConfig(bytes, what)
  mustSuit(config.platform, found, options.platform)
  const { diffIds, commands } = config
  if (diffIds.length !== found.layers.length)
    throw new VarveError(
      'E_DIGEST',
      `cannot use ${what}: it has digests of ${diffIds.length} layers, and the image has ${found.layers.length}`,
    )
  const layers = found.layers.map((blob, i): ImageLayer => {
    const diffId = diffIds[i] as Digest
    const { digest, mediaType, size } = blob
    const reading = {
      diffId,
      what: `the layer ${digest ?? diffId} of "${name}"`,
      onWarning: options.onWarning,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    }
    return { digest, diffId, mediaType, size, history: commands[i], open: () => openLayer(blob, reading) }
  })
  const configDigest = digestOf(bytes)
  return {
    name: `${name}@${manifestDigest ?? configDigest}`,
    platform: config.platform,
    manifestDigest,
    config: config.text,
    configDigest,
    layers,
    [Symbol.asyncDispose]: () => closes[Symbol.asyncDispose](),
  }
}

/** Where nothing was chosen and nothing asked for, any machine's image may be meant: the host may be another than this. */
export function mustSuit(
  own: Platform,
  found: Pick<FoundImage, 'name' | 'byPlatform'>,
  asked: Platform | undefined,
): void {
  const wanted = asked ?? (found.byPlatform ? thisPlatform() : { ...own, os: 'linux' })
  if (distance(wanted, own) !== undefined) return
  throw new VarveError(
    'E_PLATFORM',
    `cannot use "${found.name}": it is for ${platformText(own)}, and not for ${platformText(wanted)}`,
    { hint: 'name another by --platform OS/ARCHITECTURE[/VARIANT], or the manifest by its digest' },
  )
}

/** `PATH`, `PATH:REFERENCE` or `PATH@DIGEST`; the first colon ends the path, as it does for skopeo. */
function splitReference(location: string): { readonly path: string; readonly reference: string | undefined } {
  const byDigest = /^([^:]*)(@[a-z0-9+._-]+:[^:]*)$/s.exec(location)
  if (byDigest !== null) return { path: byDigest[1] ?? '', reference: byDigest[2] }
  const colon = location.indexOf(':')
  if (colon === -1) return { path: location, reference: undefined }
  const reference = location.slice(colon + 1)
  return { path: location.slice(0, colon), reference: reference === '' ? undefined : reference }
}

async function* later(find: () => Promise<Blob>): AsyncGenerator<Uint8Array> {
  yield* (await find()).bytes()
}

async function closing<Value>(what: AsyncDisposable, action: () => Promise<Value>): Promise<Value> {
  try {
    return await action()
  } catch (error) {
    await what[Symbol.asyncDispose]()
    throw error
  }
}

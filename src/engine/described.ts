// An image as an engine describes it: its config first, its layers when they are asked for.
import { parseConfig } from '../image/config.ts'
import { asList, asObject, asOptionalText, asText, asTexts, type JsonObject } from '../image/json.ts'
import { digestOf } from '../image/manifest.ts'
import { mustSuit, type Image, type ImageOptions, type StoredImage } from '../image/open.ts'
import { SavedLayers, type Save } from './saved.ts'

export type EngineOptions = ImageOptions & {
  readonly spoolDirectory: string
  /** Bytes that the engine gave and that are kept, so far. */
  readonly onProgress: (bytes: number) => void
}

export type Described = {
  /** Safe at a terminal, e.g. `docker-daemon:app:1`. */
  readonly name: string
  /** Text by the image specification. */
  readonly config: Uint8Array
  readonly save: Save
  /** See Image. */
  readonly stored?: (() => Promise<readonly StoredImage[]>) | undefined
}

const LAYER = 'application/vnd.docker.image.rootfs.diff.tar'

/** Throws the codes of parseConfig, and E_PLATFORM. */
export function describedImage({ name, config, save, stored }: Described, options: EngineOptions): Image {
  const { text, platform, diffIds, commands } = parseConfig(config, `the config of "${name}"`)
  mustSuit(platform, { name, byPlatform: false }, options.platform)
  const { spoolDirectory, limits, onProgress } = options
  const saved = new SavedLayers(save, diffIds, {
    what: `"${name}"`,
    spoolDirectory,
    onProgress,
    ...(limits === undefined ? {} : { limits }),
  })
  const configDigest = digestOf(config)
  return {
    name: `${name}@${configDigest}`,
    platform,
    manifestDigest: undefined,
    config: text,
    configDigest,
    layers: diffIds.map((diffId, i) => ({
      digest: undefined,
      diffId,
      mediaType: LAYER,
      size: undefined,
      history: commands[i],
      open: () => saved.open(diffId),
    })),
    expect: (wanted) => saved.expect(wanted),
    ...(stored === undefined ? {} : { stored }),
    [Symbol.asyncDispose]: () => saved[Symbol.asyncDispose](),
  }
}

/**
 * An image config out of what Docker's API and `podman image inspect` say of an image; `history` has the newest last.
 * Throws E_JSON.
 */
export function configOf(image: JsonObject, history: readonly JsonObject[], what: string): Buffer {
  return Buffer.from(
    JSON.stringify({
      architecture: asText(image['Architecture'], `the architecture of ${what}`),
      os: asText(image['Os'], `the os of ${what}`),
      variant: asOptionalText(image['Variant'], what),
      config: image['Config'] ?? undefined,
      rootfs: { type: 'layers', diff_ids: layersOf(image, what) },
      history,
    }),
  )
}

/**
 * Docker's API has the newest first. Steps that made no layer have no size, but so have layers that only hide: where
 * there are as many steps as layers, each made one.
 */
export function historyOf(answer: unknown, image: JsonObject, what: string): JsonObject[] {
  const steps = asList(answer, what).map((step) => asObject(step, what))
  const all = steps.length === layersOf(image, what).length
  return steps
    .map((step) => ({ created_by: step['CreatedBy'], ...(step['Size'] === 0 && !all ? { empty_layer: true } : {}) }))
    .toReversed()
}

export function layersOf(image: JsonObject, what: string): readonly string[] {
  return asTexts(asObject(image['RootFS'] ?? {}, what)['Layers'], `the layers of ${what}`)
}

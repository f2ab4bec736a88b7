// Manifests and indexes of images, of OCI and of Docker: parsed once, and no two ways to read one.
import { createHash } from 'node:crypto'
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { asList, asObject, asOptionalText, asText, parseObject, type JsonObject } from './json.ts'
import type { Platform } from './platform.ts'

/** `sha256:` and 64 lower-case hexadecimal digits, so that it may stand in a path. */
export type Digest = string & { readonly digest: unique symbol }

/** https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md */
export type Descriptor = {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly platform: Platform | undefined
  /** The annotation that names an image in a layout. */
  readonly refName: string | undefined
}

export type Manifest =
  | { readonly kind: 'image'; readonly config: Descriptor; readonly layers: readonly Descriptor[] }
  | { readonly kind: 'index'; readonly manifests: readonly Descriptor[] }

export const MANIFEST_TYPES = {
  index: ['application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json'],
  image: ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.docker.distribution.manifest.v2+json'],
} as const
const CONFIG_TYPES = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json']
const LAYER_TYPE =
  /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(?:\.gzip|\.zstd)?)$/
const FOREIGN_TYPE = /\.(?:nondistributable|foreign)\./
const MOST = 1000

export function parseDigest(value: unknown, what: string): Digest {
  const text = asText(value, `the digest of ${what}`)
  if (!/^sha256:[0-9a-f]{64}$/.test(text))
    throw new VarveError('E_DIGEST_FORM', `cannot use the digest "${shown(text)}" of ${what}: it is no SHA-256`, {
      hint: 'a digest is "sha256:" and 64 lower-case hexadecimal digits',
    })
  return text as Digest
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest
}

/** `mediaType` is what referred to it said. Throws E_JSON, E_DIGEST_FORM, E_MEDIA. */
export function parseManifest(bytes: Uint8Array, what: string, mediaType: string | undefined): Manifest {
  const json = parseObject(bytes, what)
  const own = asOptionalText(json['mediaType'], `the media type of ${what}`)
  if (own !== undefined && mediaType !== undefined && own !== mediaType)
    throw media(what, `it says it is "${shown(own)}", and what refers to it says "${shown(mediaType)}"`)
  if (json['schemaVersion'] !== 2)
    throw media(what, `its schema version is not 2`, 'push the image again with a current tool')
  const type = own ?? mediaType
  const index = 'manifests' in json
  if (index && ('layers' in json || 'config' in json)) throw media(what, 'it is an index and an image at once')
  const known: readonly string[] = MANIFEST_TYPES[index ? 'index' : 'image']
  if (type !== undefined && !known.includes(type)) throw media(what, `it is of type "${shown(type)}"`)
  if (index) return { kind: 'index', manifests: descriptors(json['manifests'], what) }
  const config = parseDescriptor(json['config'], `the config in ${what}`)
  if (!CONFIG_TYPES.includes(config.mediaType))
    throw media(what, `it is no image of a container, but of type "${shown(config.mediaType)}"`)
  const layers = descriptors(json['layers'], what)
  for (const layer of layers) checkLayerType(layer.mediaType, `the layer ${layer.digest} in ${what}`)
  return { kind: 'image', config, layers }
}

function checkLayerType(type: string, what: string): void {
  if (FOREIGN_TYPE.test(type))
    throw media(
      what,
      `it is not distributed with the image ("${shown(type)}")`,
      'use an image whose layers are all its own',
    )
  if (type.endsWith('+encrypted'))
    throw media(what, 'it is encrypted', 'decrypt the image first, e.g. with skopeo copy --decryption-key')
  if (!LAYER_TYPE.test(type)) throw media(what, `it is of type "${shown(type)}"`)
}

function descriptors(value: unknown, what: string): Descriptor[] {
  const list = asList(value, `the list in ${what}`)
  if (list.length > MOST) throw new VarveError('E_LIMIT', `cannot use ${what}: it lists more than ${MOST} things`)
  return list.map((item) => parseDescriptor(item, `an item in ${what}`))
}

function parseDescriptor(value: unknown, what: string): Descriptor {
  const json = asObject(value, what)
  const { size } = json
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw new VarveError('E_JSON', `cannot use ${what}: its size is no number of bytes`)
  const annotations = json['annotations'] === undefined ? {} : asObject(json['annotations'] ?? {}, what)
  return {
    mediaType: asText(json['mediaType'], `the media type of ${what}`),
    digest: parseDigest(json['digest'], what),
    size,
    platform: json['platform'] === undefined ? undefined : parsePlatformObject(json['platform'], what),
    refName: asOptionalText(annotations['org.opencontainers.image.ref.name'], what),
  }
}

/** Of a descriptor and of an image config alike. */
export function parsePlatformObject(value: unknown, what: string): Platform | undefined {
  const json: JsonObject = asObject(value, what)
  const os = asOptionalText(json['os'], `the os of ${what}`)
  const architecture = asOptionalText(json['architecture'], `the architecture of ${what}`)
  const variant = asOptionalText(json['variant'], `the variant of ${what}`)
  if (os === undefined || architecture === undefined) return undefined
  return { os, architecture, ...(variant === undefined ? {} : { variant }) }
}

function media(what: string, why: string, hint?: string): VarveError {
  return new VarveError('E_MEDIA', `cannot use ${what}: ${why}`, hint === undefined ? {} : { hint })
}

function shown(text: string): string {
  return escapeControls(text.slice(0, 120))
}

// What `docker save` writes: manifest.json, and files that it names; since Docker 25 also an OCI layout of the same blobs.
import { VarveError } from '../errors.ts'
import { byteString, escapeControls } from '../model/bytes.ts'
import { normalisePath } from '../model/path.ts'
import { MANIFEST_LIMIT, readText, type Blob } from './blobs.ts'
import type { FoundImage } from './choose.ts'
import type { Files } from './files.ts'
import { asList, asObject, asText, asTexts, parseJson } from './json.ts'
import type { Digest } from './manifest.ts'
import { referenceText, parseReference } from './reference.ts'

type Item = { readonly config: string; readonly tags: readonly string[]; readonly layers: readonly string[] }

const LAYER = 'application/vnd.docker.image.rootfs.diff.tar'

/** https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md Throws E_IMAGE, E_BLOB_MISSING, E_PATH_ESCAPE. */
export async function openDockerArchive(
  files: Files,
  name: string,
  reference: string | undefined,
): Promise<FoundImage> {
  const what = `manifest.json of "${name}"`
  const file = await files.find('manifest.json')
  if (file === undefined)
    throw new VarveError('E_IMAGE', `cannot read "${name}": it has no manifest.json`, {
      hint: 'make it with docker save, or name an OCI layout as oci-archive:FILE',
    })
  const json = parseJson(await readText({ digest: undefined, ...file }, what, MANIFEST_LIMIT), what)
  const items = asList(json, what).map((value): Item => {
    const item = asObject(value, what)
    return {
      config: asText(item['Config'], `Config in ${what}`),
      tags: asTexts(item['RepoTags'], `RepoTags in ${what}`),
      layers: asTexts(item['Layers'], `Layers in ${what}`),
    }
  })
  const item = choose(items, name, reference)
  const layers: (Blob & { mediaType: string })[] = []
  for (const layer of item.layers) layers.push({ ...(await blobOf(files, layer, name)), mediaType: LAYER })
  return { name, manifestDigest: undefined, config: await blobOf(files, item.config, name), layers, byPlatform: false }
}

function choose(items: readonly Item[], name: string, reference: string | undefined): Item {
  const number = /^@([0-9]{1,6})$/.exec(reference ?? '')?.[1]
  const wanted = reference === undefined || number !== undefined ? undefined : canonical(reference)
  const fitting =
    number !== undefined
      ? items.filter((_, i) => i === Number(number))
      : items.filter(({ tags }) => wanted === undefined || tags.some((tag) => canonical(tag) === wanted))
  const [item, ...others] = fitting
  if (item !== undefined && others.length === 0) return item
  const why =
    reference === undefined
      ? `it has ${items.length} images, and none is named`
      : `it has no "${escapeControls(reference)}"`
  const list = items.map(({ tags }, i) => `${name}:${escapeControls(tags[0] ?? `@${i}`)}`).slice(0, 20)
  throw new VarveError(
    'E_IMAGE',
    `cannot read "${name}": ${why}`,
    list.length === 0 ? {} : { hint: `name one of: ${list.join(', ')}` },
  )
}

function canonical(tag: string): string {
  return referenceText(parseReference(tag))
}

/** Names are the digests of what they name: `HEX.json`, or `blobs/sha256/HEX`; older ones of layers say nothing. */
async function blobOf(files: Files, named: string, name: string): Promise<Blob> {
  const { path } = normalisePath(byteString(Buffer.from(named).toString('latin1')))
  const file = await files.find(path)
  if (file === undefined)
    throw new VarveError(
      'E_BLOB_MISSING',
      `cannot read "${escapeControls(named.slice(0, 200))}" of "${name}": it is not there`,
      {
        hint: 'make the archive again',
      },
    )
  const hex = /^(?:blobs\/sha256\/([0-9a-f]{64})|([0-9a-f]{64})\.json)$/.exec(path)
  const digest = hex?.[1] ?? hex?.[2]
  return { digest: digest === undefined ? undefined : (`sha256:${digest}` as Digest), ...file }
}

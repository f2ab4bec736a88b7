// An OCI image layout, as a directory or as an archive of one: which image is named, and where its blobs are.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { MANIFEST_LIMIT, readText, type Blob } from './blobs.ts'
import type { Origin } from './choose.ts'
import type { Files } from './files.ts'
import { parseObject } from './json.ts'
import { parseDigest, parseManifest, type Descriptor } from './manifest.ts'

/** https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md Throws E_OCI_LAYOUT, E_IMAGE. */
export async function openLayout(files: Files, name: string, reference: string | undefined): Promise<Origin> {
  const marker = parseObject(await read(files, 'oci-layout', name), `"oci-layout" of "${name}"`)
  const version = marker['imageLayoutVersion']
  if (typeof version !== 'string' || !version.startsWith('1.'))
    throw new VarveError('E_OCI_LAYOUT', `cannot read "${name}": its image layout is not of version 1`)
  const what = `the index of "${name}"`
  const index = parseManifest(await read(files, 'index.json', name), what, undefined)
  if (index.kind !== 'index') throw new VarveError('E_OCI_LAYOUT', `cannot read "${name}": index.json is no index`)
  const blob = async (descriptor: Descriptor): Promise<Blob> => {
    const { digest, size } = descriptor
    const file = await files.find(pathOf(digest))
    if (file === undefined)
      throw new VarveError('E_BLOB_MISSING', `cannot read ${digest} of "${name}": it is not there`, {
        hint: 'copy the image again',
      })
    return { digest, size, bytes: file.bytes }
  }
  const roots = await rootsOf(index.manifests, { files, name, reference })
  return { name, roots, manifest: blob, blob, [Symbol.asyncDispose]: () => files[Symbol.asyncDispose]() }
}

async function read(files: Files, path: string, name: string): Promise<Buffer> {
  const file = await files.find(path)
  if (file === undefined)
    throw new VarveError('E_OCI_LAYOUT', `cannot read "${name}": it has no ${path}`, {
      hint: 'name what holds oci-layout, index.json and blobs, e.g. oci:./image:latest',
    })
  return readText({ digest: undefined, ...file }, `${path} of "${name}"`, MANIFEST_LIMIT)
}

async function rootsOf(
  manifests: readonly Descriptor[],
  { files, name, reference }: { readonly files: Files; readonly name: string; readonly reference: string | undefined },
): Promise<readonly Descriptor[]> {
  if (reference?.startsWith('@') === true) {
    const digest = parseDigest(reference.slice(1), `"${name}"`)
    const listed = manifests.find((manifest) => manifest.digest === digest)
    const file = listed === undefined ? await files.find(pathOf(digest)) : undefined
    if (listed !== undefined) return [{ ...listed, platform: undefined }]
    if (file === undefined) throw unknown(manifests, name, `it has no ${digest}`)
    return [{ mediaType: '', digest, size: file.size, platform: undefined, refName: undefined }]
  }
  const named = reference === undefined ? manifests : manifests.filter(({ refName }) => refName === reference)
  if (named.length === 0)
    throw unknown(
      manifests,
      name,
      reference === undefined ? 'it has no image' : `it has no "${escapeControls(reference)}"`,
    )
  if (new Set(named.map(({ refName }) => refName)).size > 1)
    throw unknown(manifests, name, `it has ${named.length} images, and none is named`)
  return named
}

function unknown(manifests: readonly Descriptor[], name: string, why: string): VarveError {
  const tags = manifests.flatMap(({ refName, digest }) => (refName === undefined ? `@${digest}` : `:${refName}`))
  const list = tags.slice(0, 20).map((tag) => `${name}${escapeControls(tag)}`)
  return new VarveError(
    'E_IMAGE',
    `cannot read "${name}": ${why}`,
    list.length === 0 ? {} : { hint: `name one of: ${list.join(', ')}` },
  )
}

function pathOf(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}

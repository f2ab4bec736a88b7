// Images that an engine has: which layers each is made of, and the files in them for the sake of their contents alone.
import { lstatSync } from 'node:fs'
import { readFile, realpath } from 'node:fs/promises'
import { VarveError } from '../errors.ts'
import { asObject, asOptionalText, asTexts, type JsonObject } from '../image/json.ts'
import type { StoredImage } from '../image/open.ts'
import type { ByteString } from '../model/bytes.ts'
import { defaultLimits, openDecompressed } from '../tar/decompress.ts'
import { readTar } from '../tar/read.ts'
import { layersOf } from './described.ts'
import { mayBeLayer, type Save } from './saved.ts'

/** Of so many images an engine is asked what they are, the newest first. */
export const MOST_ASKED = 24
/** Docker before API 1.44 calls by this what has no name. */
const NAMELESS = '<none>'

/** Out of what Docker's API and `podman image inspect` say of an image, and of the one that is the source. Throws E_JSON. */
export function storedImage(
  image: JsonObject,
  own: JsonObject,
  { what, save }: { readonly what: string; readonly save: Save },
): StoredImage {
  const [names, ownNames] = [namesOf(image, what), namesOf(own, what)]
  const driver = asObject(image['GraphDriver'] ?? {}, what)
  const places = asObject(driver['Data'] ?? {}, what)
  const directories = ['UpperDir', 'LowerDir'].flatMap((key) => asOptionalText(places[key], what)?.split(':') ?? [])
  return {
    diffIds: layersOf(image, what),
    isKin: names.length === 0 || names.some((name) => ownNames.includes(name)),
    bytes: Number(image['Size']) || 0,
    directories: directories.filter((directory) => directory.startsWith('/')),
    filesAt,
    files: (sizes) => filesIn(save, sizes, what),
  }
}

function namesOf(image: JsonObject, what: string): string[] {
  const names = asTexts(image['RepoTags'], what).map((name) => name.slice(0, name.lastIndexOf(':')))
  return names.filter((name) => name !== NAMELESS)
}

async function* filesAt(
  directory: string,
  places: Iterable<{ readonly path: ByteString; readonly size: number }>,
): ReturnType<StoredImage['filesAt']> {
  const root = await realpath(directory).catch(() => undefined)
  if (root === undefined) return
  for (const { path, size } of places) {
    const place = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')])
    const bytes = await fileAt(place, size).catch(() => undefined)
    if (bytes !== undefined) yield bytes
  }
}

/** No name above it is a link: a path of a layer means something in its container alone. */
async function fileAt(place: Buffer, size: number): Promise<Uint8Array | undefined> {
  // most are not there, which is soonest found so
  const stats = lstatSync(place, { throwIfNoEntry: false })
  if (stats?.isFile() !== true || stats.size !== size) return undefined
  return (await realpath(place, 'buffer')).equals(place) ? readFile(place) : undefined
}

/** What is no layer, or none that can be read, is passed over. */
async function* filesIn(save: Save, sizes: ReadonlySet<number>, archive: string): ReturnType<StoredImage['files']> {
  const limits = { entries: defaultLimits.entries, bytes: Infinity }
  const options = { archive, limits, onWarning: () => {} }
  for await (const { member, contents } of readTar(await save(), options)) {
    if (!mayBeLayer(member)) continue
    try {
      const { chunks } = await openDecompressed(contents, { ...options, limits: defaultLimits })
      for await (const file of readTar(chunks, { ...options, mayEndUnpadded: true }))
        if (file.member.kind === 'file' && sizes.has(file.member.size)) yield file.contents
    } catch (error) {
      if (!(error instanceof VarveError && error.code.startsWith('E_TAR_'))) throw error
    }
  }
}

// Images of Docker, or of Podman by the same API: what is known of them is asked first, and often that is enough.
import { VarveError } from '../errors.ts'
import { asList, asObject, asText, type JsonObject } from '../image/json.ts'
import type { Image, StoredImage } from '../image/open.ts'
import { escapeControls } from '../model/bytes.ts'
import { findEngine } from './address.ts'
import { engineAt, type Engine } from './api.ts'
import { configOf, describedImage, historyOf, type EngineOptions } from './described.ts'
import type { Save } from './saved.ts'
import { MOST_ASKED, storedImage } from './stored.ts'

const ID = /^(?:sha256:)?[0-9a-f]{64}$/

/** Throws E_IMAGE, E_ENGINE, E_DOCKER_PERM, E_CONFIG and the codes of describedImage; its layers those of SavedLayers. */
export async function openDockerImage(location: string, options: EngineOptions): Promise<Image> {
  const name = escapeControls(`docker-daemon:${location}`)
  if (!isImageName(location))
    throw new VarveError('E_IMAGE', `cannot use "${name}": it is no name of an image`, {
      hint: 'write for example docker-daemon:app:1.2, or an id as docker images shows it',
    })
  const engine = engineAt(await findEngine(options.environment))
  const image = await findImage(engine, { name, location }, options)
  if (image === undefined)
    throw new VarveError('E_IMAGE', `cannot read "${name}": the engine at "${engine.name}" has no such image`, {
      hint: 'docker images lists what it has; docker://REF reads it from its registry',
    })
  return image
}

/** Undefined where the engine does not have it. */
export async function findImage(
  engine: Engine,
  { name, location }: { readonly name: string; readonly location: string },
  options: EngineOptions,
): Promise<Image | undefined> {
  const what = `what the engine says of "${name}"`
  const answer = await engine.json(`/images/${location}/json`)
  if (answer === undefined) return undefined
  const image = asObject(answer, what)
  // from here on by its id: the name may come to mean another image
  const id = asText(image['Id'], `the id in ${what}`)
  if (!ID.test(id)) throw new VarveError('E_JSON', `cannot use ${what}: its id is "${escapeControls(id.slice(0, 80))}"`)
  const history = historyOf(await engine.json(`/images/${id}/history`), image, what)
  const save = saveOf(engine, id, name)
  const stored = (): Promise<StoredImage[]> => storedIn(engine, image)
  return describedImage({ name, config: configOf(image, history, what), save, stored }, options)
}

function saveOf(engine: Engine, id: string, name: string): Save {
  return async () => {
    const bytes = await engine.stream(`/images/${id}/get`)
    if (bytes === undefined) throw new VarveError('E_SOURCE_GONE', `cannot read "${name}": it was removed meanwhile`)
    return bytes
  }
}

async function storedIn(engine: Engine, own: JsonObject): Promise<StoredImage[]> {
  const what = 'what the engine says of its images'
  const listed = asList(await engine.json('/images/json'), what).map((image) => asObject(image, what))
  const newest = listed.toSorted((a, b) => Number(b['Created']) - Number(a['Created'])).slice(0, MOST_ASKED)
  const ids = newest.map((image) => asText(image['Id'], what)).filter((id) => ID.test(id))
  const images = await Promise.all(ids.map((id) => engine.json(`/images/${id}/json`)))
  return images.flatMap((image, i) => {
    const id = ids[i] ?? ''
    return image === undefined ? [] : [storedImage(asObject(image, what), own, { what, save: saveOf(engine, id, id) })]
  })
}

/** Each part begins with a letter or a digit, so that it is no option of a command and leads nowhere else in an address. */
export function isImageName(text: string): boolean {
  return text.length <= 1024 && /^[A-Za-z0-9][A-Za-z0-9._:@+-]*(?:\/[A-Za-z0-9][A-Za-z0-9._:@+-]*)*$/.test(text)
}

// A container of Docker or Podman as it is now: its image, what it runs, and all its files, read while it stands still.
import type { FileHandle } from 'node:fs/promises'
import { VarveError } from '../errors.ts'
import { parseConfig } from '../image/config.ts'
import { asList, asObject, asOptionalText, asText, type JsonObject } from '../image/json.ts'
import type { Image } from '../image/open.ts'
import { thisPlatform } from '../image/platform.ts'
import { escapeControls } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Tree } from '../model/tree.ts'
import { keep, openSpool, readAtOnce, readContents, readRange } from '../tar/spool.ts'
import { readTarTree } from '../tar/tree.ts'
import { findEngine } from './address.ts'
import { engineAt, type Engine } from './api.ts'
import type { EngineOptions } from './described.ts'
import { findImage } from './docker.ts'
import { ownConfig, type OwnConfig } from './own-config.ts'
import { pausedFor } from './pause.ts'

export type ContainerOptions = EngineOptions & {
  readonly pause: boolean
  /** See Context. */
  readonly undo: Set<() => Promise<void>>
}

export type OpenContainer = AsyncDisposable & {
  /** An image config that says what the container runs. */
  readonly config: string
  /** All that the engine says of it, as JSON. */
  readonly inspected: string
  /** Undefined where it cannot be read. */
  readonly own: OwnConfig | undefined
  /** What it was made from; undefined where the engine has it no more. */
  readonly image: Image | undefined
  /** All its files, as the engine exports them. */
  readonly tree: Tree
  readonly contents: (file: FileEntry) => AsyncIterable<Uint8Array> | Uint8Array
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/
const SMALL = 1 << 20

/**
 * Throws E_NAME, E_SOURCE, E_SOURCE_GONE, E_ENGINE, E_DOCKER_PERM, E_LOST, E_CONFIG*, and the codes of readTarTree and of
 * the container's image.
 */
export async function openContainer(location: string, options: ContainerOptions): Promise<OpenContainer> {
  const name = escapeControls(`container:${location.slice(0, 255)}`)
  if (!NAME.test(location))
    throw new VarveError('E_NAME', `cannot use "${name}": it is no name of a container`, {
      hint: 'docker ps -a lists names and ids',
    })
  const engine = engineAt(await findEngine(options.environment))
  const container = await inspect(engine, location, name)
  if (container === undefined)
    throw new VarveError('E_SOURCE', `cannot read "${name}": the engine at "${engine.name}" has no such container`, {
      hint: 'docker ps -a lists what it has',
    })
  warnOfVolumes(container, name, options)
  // a container that ends meanwhile takes it along
  const own = await ownConfig(container)
  const spool = await openSpool(options.spoolDirectory)
  try {
    const size = await exportInto(spool, { engine, container, name }, options)
    const archive = `"${name}"`
    const { tree, contents, warnings } = await readTarTree(readRange(spool, { offset: 0, length: size }, { archive }), {
      archive,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    })
    for (const warning of warnings) {
      if (warning.code === 'W_TAR_EOF')
        throw new VarveError('E_TAR_TRUNC', `cannot read ${archive}: it ends before its end marker`, {
          hint: 'see the log of the engine, and run the command again',
        })
      options.onWarning(warning)
    }
    const image = await imageOf(engine, container, name, options)
    const reading = ({ path }: FileEntry): Parameters<typeof readAtOnce>[2] => ({ path, archive, check: () => {} })
    return {
      config: configFor(container, image, name),
      inspected: JSON.stringify(container),
      own,
      image,
      tree,
      contents: (file) => (file.size <= SMALL ? readAtOnce : readContents)(spool, contents, reading(file)),
      [Symbol.asyncDispose]: async () => {
        await image?.[Symbol.asyncDispose]()
        await spool.close()
      },
    }
  } catch (error) {
    await spool.close()
    throw error
  }
}

type Found = { readonly engine: Engine; readonly container: JsonObject; readonly name: string }

async function inspect(engine: Engine, location: string, name: string): Promise<JsonObject | undefined> {
  const what = `what the engine says of "${name}"`
  const answer = await engine.json(`/containers/${location}/json`)
  return answer === undefined ? undefined : asObject(answer, what)
}

/** The container stands still only as long as its files are taken down; what they are is found out later. */
async function exportInto(
  spool: FileHandle,
  { engine, container, name }: Found,
  options: ContainerOptions,
): Promise<number> {
  const id = asText(container['Id'], `the id of "${name}"`)
  if (!/^[0-9a-f]{64}$/.test(id)) throw new VarveError('E_JSON', `cannot use "${name}": its id is none`)
  const state = asObject(container['State'] ?? {}, `the state of "${name}"`)
  const mustPause = options.pause && state['Running'] === true && state['Paused'] !== true
  const action = async (): Promise<number> => {
    let size = 0
    const bytes = await engine.stream(`/containers/${id}/export`)
    if (bytes === undefined) throw gone(name)
    for await (const chunk of bytes) {
      await keep(chunk, spool, { directory: options.spoolDirectory })
      options.onProgress((size += chunk.length))
    }
    return size
  }
  try {
    return await (mustPause ? pausedFor(action, { engine, id, name, undo: options.undo }) : action())
  } catch (error) {
    if ((await inspect(engine, id, name).catch(() => container)) === undefined) throw gone(name, error)
    throw error
  }
}

async function imageOf(
  engine: Engine,
  container: JsonObject,
  name: string,
  options: EngineOptions,
): Promise<Image | undefined> {
  const location = asOptionalText(container['Image'], `the image of "${name}"`)
  if (location === undefined || !/^(?:sha256:)?[0-9a-f]{64}$/.test(location)) return undefined
  return findImage(engine, { name: `the image of ${name}`, location }, options)
}

/** Checked as an image's own is. Throws E_CONFIG_CWD, E_CONFIG_ENV, E_CONFIG_USER, E_CONFIG_CMD. */
function configFor(container: JsonObject, image: Image | undefined, name: string): string {
  const { os, architecture } = image?.platform ?? thisPlatform()
  const text = JSON.stringify({
    os,
    architecture,
    config: container['Config'],
    rootfs: { type: 'layers', diff_ids: [] },
  })
  return parseConfig(Buffer.from(text), `the config of "${name}"`).text
}

function warnOfVolumes(container: JsonObject, name: string, { onWarning }: EngineOptions): void {
  const places = asList(container['Mounts'], `the mounts of "${name}"`).map((mount) =>
    escapeControls(String(asObject(mount, `a mount of "${name}"`)['Destination']).slice(0, 200)),
  )
  if (places.length > 0)
    onWarning({
      code: 'W_VOLUME',
      message: `what is mounted into "${name}" is no part of it and was left out: ${places.slice(0, 20).join(', ')}`,
    })
}

function gone(name: string, cause?: unknown): VarveError {
  return new VarveError('E_SOURCE_GONE', `cannot read "${name}": it was removed while it was read`, { cause })
}

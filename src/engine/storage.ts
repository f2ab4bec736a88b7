// Images of podman and buildah in their storage on this machine, by whichever of their commands is there.
import { VarveError, hasCode } from '../errors.ts'
import type { Environment } from '../image/credentials.ts'
import { asList, asObject, asText, parseJson, parseObject, type JsonObject } from '../image/json.ts'
import type { Image, StoredImage } from '../image/open.ts'
import { escapeControls } from '../model/bytes.ts'
import { configOf, describedImage, type EngineOptions } from './described.ts'
import { isImageName } from './docker.ts'
import { MOST_ASKED, storedImage } from './stored.ts'
import { answerOf, outputByFile, outputOf, type Words } from './tool.ts'

type Tool = {
  readonly inspect: (ref: string) => Words
  /** The image config out of the answer. */
  readonly config: (answer: Buffer, what: string) => Uint8Array
  /** Writes the image as `docker save` does. */
  readonly save: (ref: string, options: EngineOptions) => AsyncIterable<Uint8Array>
  /** What else is in the storage; the answer is of the source. */
  readonly stored?: (answer: Buffer, options: EngineOptions) => Promise<StoredImage[]>
}

const STDOUT = 'docker-archive:/dev/stdout'
/** In this order, for only the first two know short names. */
const TOOLS: readonly Tool[] = [
  {
    inspect: (ref) => ['podman', 'image', 'inspect', ref],
    config: (answer, what) => {
      const image = asObject(asList(parseJson(answer, what), what)[0], what)
      const history = asList(image['History'], what).map((item) => asObject(item, what))
      return configOf(image, history, what)
    },
    save: savePodman,
    stored: storedByPodman,
  },
  {
    inspect: (ref) => ['buildah', 'inspect', '--type', 'image', ref],
    config: (answer, what) => Buffer.from(asText(parseObject(answer, what)['Config'], `the config in ${what}`)),
    save: (ref, options) => outputByFile(['buildah', 'push', '--quiet', ref, STDOUT], options),
  },
  {
    inspect: (ref) => ['skopeo', 'inspect', '--config', '--raw', `containers-storage:${ref}`],
    config: (answer) => answer,
    save: (ref, options) =>
      outputByFile(['skopeo', '--insecure-policy', 'copy', '--quiet', `containers-storage:${ref}`, STDOUT], options),
  },
]
const UNKNOWN = /image not known|no such image|not an image|does not resolve to an image|unable to find/i

/** `location` is `[[DRIVER@ROOT+RUNROOT]]REF`. Throws E_IMAGE, E_TOOL, E_ENGINE and the codes of describedImage. */
export async function openStorageImage(location: string, options: EngineOptions): Promise<Image> {
  const name = escapeControls(`containers-storage:${location}`)
  const elsewhere = /^\[[^\]\0]+\]/.exec(location)?.[0] ?? ''
  if (!isImageName(location.slice(elsewhere.length)))
    throw new VarveError('E_IMAGE', `cannot use "${name}": it is no name of an image`, {
      hint: 'write for example containers-storage:localhost/app:1.2, or an id as podman images shows it',
    })
  const { environment } = options
  const what = `what the storage says of "${name}"`
  // only skopeo is told of another storage in the name
  for (const tool of elsewhere === '' ? TOOLS : TOOLS.slice(-1)) {
    const answer = await inspect(tool.inspect(location), name, environment)
    if (answer === undefined) continue
    const save = async (): Promise<AsyncIterable<Uint8Array>> => tool.save(location, options)
    const { stored } = tool
    const beside = stored && (() => stored(answer, options))
    return describedImage({ name, config: tool.config(answer, what), save, stored: beside }, options)
  }
  const needed = elsewhere === '' ? 'podman, buildah or skopeo' : 'skopeo'
  throw new VarveError('E_TOOL', `cannot read "${name}": ${needed} is needed for it, and not there`, {
    hint: 'sudo apt-get install skopeo',
  })
}

function savePodman(ref: string, { environment }: EngineOptions): AsyncIterable<Uint8Array> {
  return outputOf(['podman', 'image', 'save', '--quiet', '--format', 'docker-archive', ref], environment)
}

async function storedByPodman(inspected: Buffer, options: EngineOptions): Promise<StoredImage[]> {
  const { environment } = options
  const what = 'what podman says of its images'
  const list = (answer: Buffer): JsonObject[] => asList(parseJson(answer, what), what).map((image) => asObject(image, what)) // prettier-ignore
  const listed = (await answerOf(['podman', 'image', 'ls', '--quiet', '--no-trunc'], environment)).toString()
  // a line for each name, the newest first
  const ids = [...new Set(listed.match(/\b[0-9a-f]{64}\b/g))].slice(0, MOST_ASKED)
  const images = list(await answerOf(['podman', 'image', 'inspect', ...ids], environment))
  const [own = {}] = list(inspected)
  return images.map((image, i) =>
    storedImage(image, own, { what, save: async () => savePodman(ids[i] ?? '', options) }),
  )
}

/** Undefined where there is no such command. */
async function inspect(words: Words, name: string, environment: Environment): Promise<Buffer | undefined> {
  try {
    return await answerOf(words, environment)
  } catch (cause) {
    if (hasCode(cause, 'E_TOOL')) return undefined
    if (hasCode(cause, 'E_ENGINE') && UNKNOWN.test(cause.message))
      throw new VarveError('E_IMAGE', `cannot read "${name}": ${words[0]} has no such image`, {
        hint: "podman images lists this user's; those of root are others: sudo podman images",
        cause,
      })
    throw cause
  }
}

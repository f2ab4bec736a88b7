// Asks a container engine over its API: small answers at once, archives as a stream that says when it was cut.
import { request, type IncomingMessage } from 'node:http'
import { VarveError, messageOf } from '../errors.ts'
import { readBounded } from '../image/blobs.ts'
import { asObject, asOptionalText, parseJson } from '../image/json.ts'
import { escapeControls } from '../model/bytes.ts'
import type { Address } from './address.ts'

/** https://docs.docker.com/reference/api/engine/ ; each throws E_ENGINE, E_DOCKER_PERM, E_JSON, E_LIMIT. */
export type Engine = {
  readonly name: string
  /** Undefined where the engine knows no such thing. */
  readonly json: (path: string) => Promise<unknown>
  /** The bytes throw E_LOST where they end too early. */
  readonly stream: (path: string) => Promise<AsyncIterable<Uint8Array> | undefined>
  readonly post: (path: string) => Promise<void>
}

const LARGEST_ANSWER = { bytes: 8 * 1024 ** 2, code: 'E_LIMIT' } as const
const PATIENCE_MS = 60_000
/** Within a stream: a container may be paused meanwhile. */
const STREAM_PATIENCE_MS = 300_000
const LONGEST_MESSAGE = 300

export function engineAt(address: Address): Engine {
  const named = `the container engine at "${address.name}"`
  const ask = async (method: 'GET' | 'POST', path: string, patience: number): Promise<IncomingMessage | undefined> => {
    const response = await send(address, { method, path, patience })
    const { statusCode = 0 } = response
    if (statusCode >= 200 && statusCode < 300) return response
    const said = await messageIn(response)
    if (statusCode === 404 && method === 'GET') return undefined
    throw new VarveError(
      'E_ENGINE',
      `cannot ask ${named} for "${escapeControls(path)}": it answered ${statusCode}${said}`,
    )
  }
  return {
    name: address.name,
    json: async (path) => {
      const response = await ask('GET', path, PATIENCE_MS)
      const what = `what ${named} says of "${escapeControls(path)}"`
      if (response === undefined) return undefined
      return parseJson(await readBounded(whole(response, what), what, LARGEST_ANSWER), what)
    },
    stream: async (path) => {
      // an engine may lay out all of an image on disk before its first byte
      const response = await ask('GET', path, 0)
      return response && whole(response, `"${escapeControls(path)}" from ${named}`)
    },
    post: async (path) => void (await ask('POST', path, PATIENCE_MS))?.resume(),
  }
}

function send(
  address: Address,
  { method, path, patience }: { readonly method: string; readonly path: string; readonly patience: number },
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { host: 'localhost', 'user-agent': 'varve' }
    const asked = request({ ...address.at, method, path, headers, agent: false, timeout: patience })
    asked.once('response', (response) => {
      asked.setTimeout(STREAM_PATIENCE_MS)
      resolve(response)
    })
    asked.on('timeout', () => asked.destroy(new Error('it does not answer')))
    asked.once('error', (cause) => reject(unreachable(address, cause)))
    asked.end()
  })
}

function unreachable({ name, at }: Address, cause: NodeJS.ErrnoException): VarveError {
  const cannot = `cannot reach the container engine at "${name}"`
  if (cause.code === 'EACCES' || cause.code === 'EPERM')
    return new VarveError('E_DOCKER_PERM', `${cannot}: permission denied`, {
      hint: 'run varve with sudo, or join the group of the socket: sudo usermod -aG docker $USER, and log in again',
      cause,
    })
  const why =
    cause.code === 'ENOENT' && 'socketPath' in at
      ? 'there is no such socket'
      : cause.code === 'ECONNREFUSED'
        ? 'nothing listens there'
        : escapeControls(messageOf(cause))
  return new VarveError('E_ENGINE', `${cannot}: ${why}`, {
    hint: 'start it (sudo systemctl start docker, or podman.socket), or name its socket: DOCKER_HOST=unix:///PATH',
    cause,
  })
}

async function messageIn(response: IncomingMessage): Promise<string> {
  try {
    const bytes = await readBounded(response, 'the answer', LARGEST_ANSWER)
    const message = asOptionalText(asObject(parseJson(bytes, 'it'), 'it')['message'], 'it')
    return message === undefined ? '' : ` ("${escapeControls(message.slice(0, LONGEST_MESSAGE))}")`
  } catch {
    return ''
  }
}

async function* whole(response: IncomingMessage, what: string): AsyncGenerator<Uint8Array> {
  try {
    yield* response as AsyncIterable<Uint8Array>
  } catch (cause) {
    throw new VarveError('E_LOST', `cannot read ${what}: the engine broke off (${escapeControls(messageOf(cause))})`, {
      hint: 'see the log of the engine, and run the command again',
      cause,
    })
  }
}

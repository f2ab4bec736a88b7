// Where the container engine listens: what the environment says, else Docker's current context, else the usual sockets.
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { VarveError, messageOf } from '../errors.ts'
import type { Environment } from '../image/credentials.ts'
import { asObject, asOptionalText, parseObject, type JsonObject } from '../image/json.ts'
import { escapeControls } from '../model/bytes.ts'

export type Address = {
  /** As a user would write it; safe at a terminal. */
  readonly name: string
  readonly at: { readonly socketPath: string } | { readonly host: string; readonly port: number }
}

const USUAL = '/var/run/docker.sock'
const DEFAULT_CONTEXT = 'default'
const DOCKER_PORT = 2375

/** In the order of the docker command: DOCKER_HOST, DOCKER_CONTEXT, the context in its config. Throws E_ENGINE, E_CONFIG. */
export async function findEngine(environment: Environment): Promise<Address> {
  const host = environment['DOCKER_HOST'] || (await hostOfContext(environment))
  if (host === undefined) return parseHost(`unix://${await usualSocket(environment)}`, environment)
  return parseHost(host, environment)
}

/** https://docs.docker.com/engine/manage-resources/contexts/ */
async function hostOfContext(environment: Environment): Promise<string | undefined> {
  const home = environment['HOME']
  const directory = environment['DOCKER_CONFIG'] || (home ? join(home, '.docker') : undefined)
  if (directory === undefined) return undefined
  const config = await readJson(join(directory, 'config.json'))
  const context = environment['DOCKER_CONTEXT'] || asOptionalText(config?.['currentContext'], 'the current context')
  if (context === undefined || context === DEFAULT_CONTEXT) return undefined
  const key = createHash('sha256').update(context).digest('hex')
  const path = join(directory, 'contexts/meta', key, 'meta.json')
  const meta = await readJson(path)
  const what = `"${escapeControls(path)}"`
  const endpoints = asObject(meta?.['Endpoints'] ?? {}, what)
  const host = asOptionalText(asObject(endpoints['docker'] ?? {}, what)['Host'], what)
  if (host === undefined)
    throw new VarveError(
      'E_CONFIG',
      `cannot use Docker's context "${escapeControls(context)}": ${what} says no address`,
      { hint: 'docker context ls; docker context use default' },
    )
  return host
}

async function readJson(path: string): Promise<JsonObject | undefined> {
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new VarveError('E_CONFIG', `cannot read "${escapeControls(path)}": ${escapeControls(messageOf(cause))}`)
  }
  try {
    return parseObject(bytes, 'it')
  } catch {
    // a message of the parser may quote the file, which may hold passwords
    throw new VarveError('E_CONFIG', `cannot read "${escapeControls(path)}": it is no JSON object`)
  }
}

/** Docker's, rootless Docker's, Podman's: the first that is there. */
async function usualSocket(environment: Environment): Promise<string> {
  const own = environment['XDG_RUNTIME_DIR']
  const below = (path: string): string[] => (own ? [join(own, path)] : [])
  const paths = [USUAL, ...below('docker.sock'), '/run/podman/podman.sock', ...below('podman/podman.sock')]
  for (const path of paths) {
    const isThere = await stat(path).then(
      (stats) => stats.isSocket(),
      (error: NodeJS.ErrnoException) => error.code === 'EACCES',
    )
    if (isThere) return path
  }
  return USUAL
}

function parseHost(text: string, environment: Environment): Address {
  const name = escapeControls(text.slice(0, 200))
  const path = /^unix:\/\/(\/[^\0]*)$/.exec(text)?.[1]
  if (path !== undefined) return { name, at: { socketPath: path } }
  const [, host, port] =
    /^(?:tcp|http):\/\/(localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::([0-9]{1,5}))?\/?$/.exec(text) ?? []
  if (host === undefined || environment['DOCKER_TLS_VERIFY'])
    throw new VarveError(
      'E_ENGINE',
      `cannot use the container engine at "${name}": varve asks engines at unix:///PATH, and at tcp://127.0.0.1:PORT without TLS`,
      { hint: 'let the engine save it, e.g. docker save -o image.tar REF, and push docker-archive:image.tar' },
    )
  return { name, at: { host: host.replace(/[[\]]/g, ''), port: Number(port ?? DOCKER_PORT) } }
}

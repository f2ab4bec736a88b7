// Finds what is known of a registry in the auth files of podman and docker, and in the helpers that they name.
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { asObject, asOptionalText, parseObject, type JsonObject } from './json.ts'
import type { Reference } from './reference.ts'

export type Credentials =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'identity'; readonly token: string }

export type Environment = Readonly<Record<string, string | undefined>>

const LARGEST_FILE = 1024 * 1024
const HUB = ['https://index.docker.io/v1/', 'index.docker.io']
/** How docker-credential helpers say that they know nothing; any other failure is one. */
const NOT_FOUND = /credentials not found/i

/** https://github.com/containers/image/blob/v5.30.0/docs/containers-auth.json.5.md Throws E_CONFIG. */
export async function findCredentials(
  reference: Reference,
  environment: Environment,
): Promise<Credentials | undefined> {
  for (const path of filesOf(environment)) {
    const file = await readAuthFile(path)
    const found = file === undefined ? undefined : await lookUp(file, { path, reference, environment })
    if (found !== undefined) return found
  }
  return undefined
}

function filesOf(environment: Environment): string[] {
  const set = (name: string): string | undefined => environment[name] || undefined
  const only = set('REGISTRY_AUTH_FILE')
  if (only !== undefined) return [only]
  const home = set('HOME')
  const below = (directory: string | undefined, ...path: string[]): string[] =>
    directory === undefined ? [] : [join(directory, ...path)]
  return [
    ...below(set('XDG_RUNTIME_DIR'), 'containers/auth.json'),
    ...below(set('XDG_CONFIG_HOME') ?? below(home, '.config')[0], 'containers/auth.json'),
    ...below(set('DOCKER_CONFIG') ?? below(home, '.docker')[0], 'config.json'),
  ]
}

async function readAuthFile(path: string): Promise<JsonObject | undefined> {
  try {
    const bytes = await readFile(path)
    if (bytes.length > LARGEST_FILE) throw new VarveError('E_JSON', `it is larger than ${LARGEST_FILE} bytes`)
    return parseObject(bytes, 'it')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    // a message of the parser may quote the file, which holds passwords
    const why = cause instanceof VarveError ? 'it is no JSON object' : escapeControls(messageOf(cause))
    throw new VarveError('E_CONFIG', `cannot read the auth file "${escapeControls(path)}": ${why}`)
  }
}

type LookUp = { readonly path: string; readonly reference: Reference; readonly environment: Environment }

async function lookUp(file: JsonObject, { path, reference, environment }: LookUp): Promise<Credentials | undefined> {
  const what = `"${escapeControls(path)}"`
  const { registry } = reference
  const keys = keysOf(reference)
  const helpers = asObject(file['credHelpers'] ?? {}, what)
  const key = keys.find((each) => each in helpers)
  const ask = (helper: string, server: string): Promise<Credentials | undefined> =>
    askHelper(helper, server, environment)
  if (key !== undefined) return ask(String(helpers[key]), key)
  const store = asOptionalText(file['credsStore'], what)
  const stored =
    store === undefined ? undefined : await ask(store, registry === 'docker.io' ? (HUB[0] ?? '') : registry)
  if (stored !== undefined) return stored
  const auths = asObject(file['auths'] ?? {}, what)
  const byKey = new Map(Object.entries(auths).map(([name, value]) => [HUB.includes(name) ? name : hostOf(name), value]))
  for (const each of keys) {
    const value = byKey.get(each)
    const found = value === undefined ? undefined : decode(asObject(value, what), what)
    if (found !== undefined) return found
  }
  return undefined
}

/** From the repository up to its registry. */
function keysOf({ registry, repository }: Reference): string[] {
  const parts = [registry, ...repository.split('/')]
  const keys = parts.map((_, i) => parts.slice(0, parts.length - i).join('/'))
  return registry === 'docker.io' ? [...keys, ...HUB] : keys
}

/** Old entries are addresses: `https://HOST/v1/`. */
function hostOf(key: string): string {
  return /^https?:\/\/([^/]+)/.exec(key)?.[1] ?? key
}

function decode(entry: JsonObject, what: string): Credentials | undefined {
  const identity = asOptionalText(entry['identitytoken'], what)
  if (identity !== undefined) return { kind: 'identity', token: identity }
  const auth = asOptionalText(entry['auth'], what)
  if (auth === undefined) return undefined
  const text = Buffer.from(auth, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 1) throw new VarveError('E_CONFIG', `cannot use ${what}: an "auth" in it is not USER:PASSWORD in base 64`)
  return { kind: 'password', user: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') }
}

/** https://github.com/docker/docker-credential-helpers#development */
async function askHelper(name: string, server: string, environment: Environment): Promise<Credentials | undefined> {
  const what = `cannot ask docker-credential-${escapeControls(name.slice(0, 80))} for the password of "${escapeControls(server)}"`
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name))
    throw new VarveError('E_CONFIG', `${what}: that is no name of a helper`)
  const { status, stdout } = await run(`docker-credential-${name}`, server, { what, environment })
  if (status !== 0) {
    if (NOT_FOUND.test(stdout)) return undefined
    throw new VarveError('E_REGISTRY_AUTH', `${what}: it ended with status ${status}`)
  }
  let json: JsonObject
  try {
    json = parseObject(Buffer.from(stdout), 'its answer')
  } catch {
    throw new VarveError('E_REGISTRY_AUTH', `${what}: its answer is no JSON object`)
  }
  const user = asOptionalText(json['Username'], 'Username')
  const password = asOptionalText(json['Secret'], 'Secret') ?? ''
  if (user === undefined) return undefined
  return user === '<token>' ? { kind: 'identity', token: password } : { kind: 'password', user, password }
}

function run(
  command: string,
  input: string,
  { what, environment }: { readonly what: string; readonly environment: Environment },
): Promise<{ readonly status: number | null; readonly stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, ['get'], {
      env: { ...environment },
      stdio: ['pipe', 'pipe', 'ignore'],
      timeout: 60_000,
    })
    let stdout = ''
    child.stdout.on('data', (bytes: Buffer) => (stdout = (stdout + bytes.toString('utf8')).slice(0, LARGEST_FILE)))
    child.stdin.on('error', () => {}) // it may end without reading
    child.once('error', (cause) => reject(new VarveError('E_REGISTRY_AUTH', `${what}: ${messageOf(cause)}`, { cause })))
    child.once('close', (status) => resolve({ status, stdout }))
    child.stdin.end(`${input}\n`)
  })
}

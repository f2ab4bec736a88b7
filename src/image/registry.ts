// An image in a registry: its manifests and blobs, fetched when they are asked for.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { authorize, refused, type Asked } from './authorize.ts'
import { MANIFEST_LIMIT, readBounded, type Blob } from './blobs.ts'
import { rootOf, type Origin } from './choose.ts'
import { findCredentials, type Environment } from './credentials.ts'
import { get, getPatiently, resumed } from './http.ts'
import { MANIFEST_TYPES, digestOf, type Descriptor } from './manifest.ts'
import { parseReference, referenceText, type Reference } from './reference.ts'

export type RegistryOptions = { readonly insecure?: boolean; readonly environment: Environment }

const ACCEPT = [...MANIFEST_TYPES.image, ...MANIFEST_TYPES.index].join(', ')
const LONGEST_MESSAGE = 300

/**
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md Throws E_IMAGE, E_REGISTRY, E_REGISTRY_AUTH,
 * E_CONNECT, E_CONFIG.
 */
export async function openRegistry(location: string, options: RegistryOptions): Promise<Origin> {
  const reference = parseReference(location.replace(/^\/\//, ''))
  const { registry, repository, tag, digest } = reference
  const client = await connect(reference, options)
  const name = `docker://${referenceText({ registry, repository, tag, digest: undefined })}`
  const response = await client(`manifests/${digest ?? tag}`, { accept: ACCEPT })
  if (response.status === 404)
    throw new VarveError('E_IMAGE', `cannot read "${name}": ${registry} has no ${digest ?? `"${tag}"`} of it`)
  const what = `the manifest of "${name}"`
  const bytes = await readBounded(bodyOf(response), what, MANIFEST_LIMIT)
  if (digest !== undefined && digestOf(bytes) !== digest)
    throw new VarveError(
      'E_DIGEST',
      `cannot use ${what}: its SHA-256 is ${digestOf(bytes).slice(7)}, and should be ${digest.slice(7)}`,
    )
  const root = rootOf(bytes, typeOf(response))
  const fetched =
    (path: string, accept: string) =>
    async (descriptor: Descriptor): Promise<Blob> => {
      const { digest, size } = descriptor
      const what = `${digest} of "${name}"`
      const ask = async (from: number): Promise<Response> => {
        const part: Record<string, string> = from === 0 ? {} : { range: `bytes=${from}-` }
        const response = await client(`${path}/${digest}`, { accept, ...part })
        if (response.status === 404)
          throw new VarveError('E_BLOB_MISSING', `cannot read ${what}: ${registry} has no such blob`)
        return response
      }
      return { digest, size, bytes: () => resumed(ask, { size, what }) }
    }
  const manifest = fetched('manifests', ACCEPT)
  return {
    name,
    roots: [root],
    manifest: async (descriptor) =>
      descriptor.digest === root.digest ? { ...root, bytes: () => only(bytes) } : manifest(descriptor),
    blob: fetched('blobs', '*/*'),
    [Symbol.asyncDispose]: async () => {},
  }
}

type Client = (path: string, headers: Readonly<Record<string, string>>) => Promise<Response>

/** Answers of 200, 206 and 404; all others are errors. */
async function connect(reference: Reference, options: RegistryOptions): Promise<Client> {
  const { registry, repository } = reference
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry
  const clear = (address: URL): boolean => isLoopback(address.hostname) || options.insecure === true
  const base = await baseOf(host, clear)
  const allowed = (address: URL): boolean =>
    address.protocol === 'https:' || (base.protocol === 'http:' && address.protocol === 'http:' && clear(address))
  let authorization: Readonly<Record<string, string>> = {}
  return async (path, headers) => {
    const address = new URL(`/v2/${repository}/${path}`, base)
    const ask = (): Promise<Response> =>
      getPatiently(() =>
        get(address, {
          headers: { 'accept-encoding': 'identity', 'user-agent': 'varve', ...headers, ...authorization },
          allowed,
        }),
      )
    let response = await ask()
    // a host that the registry led to is not to be told who asks
    if (response.status === 401 && new URL(response.url).origin === base.origin) {
      await response.body?.cancel()
      const credentials = await findCredentials(reference, options.environment)
      const asked: Asked = { registry, repository, credentials, allowed }
      authorization = { authorization: await authorize(response.headers.get('www-authenticate'), asked) }
      response = await ask()
      if (response.status === 401 || response.status === 403) throw refused(asked, await answerOf(response))
    }
    if (![200, 206, 404].includes(response.status))
      throw new VarveError('E_REGISTRY', `cannot read "${repository}" at ${registry}: ${await answerOf(response)}`)
    return response
  }
}

/** Where plain HTTP is allowed it is still the second choice. */
async function baseOf(host: string, clear: (address: URL) => boolean): Promise<URL> {
  if (!URL.canParse(`https://${host}`))
    throw new VarveError('E_IMAGE', `cannot use "${host}" as a registry: it is no host`)
  const secure = new URL(`https://${host}`)
  if (!clear(secure)) return secure
  try {
    const response = await get(new URL('/v2/', secure), { headers: {}, allowed: () => false })
    await response.body?.cancel()
    return secure
  } catch {
    return new URL(`http://${host}`)
  }
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(hostname)
}

function typeOf(response: Response): string {
  const type = response.headers.get('content-type')?.split(';')[0]?.trim() ?? ''
  return type === 'application/json' || type === 'text/plain' ? '' : type
}

async function answerOf(response: Response): Promise<string> {
  const said = await readBounded(bodyOf(response), 'the answer', { bytes: 65_536, code: 'E_REGISTRY' }).catch(() =>
    Buffer.alloc(0),
  )
  const message = /"message"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(said.toString('utf8'))?.[1]
  return `it answered ${response.status}${message === undefined ? '' : ` (${escapeControls(message.slice(0, LONGEST_MESSAGE))})`}`
}

function bodyOf(response: Response): AsyncIterable<Uint8Array> {
  return (response.body ?? []) as unknown as AsyncIterable<Uint8Array>
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes)
}

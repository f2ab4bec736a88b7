// Answers a registry that wants to know who asks: a token from where it points to, or a name and a password.
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { readBounded } from './blobs.ts'
import type { Credentials } from './credentials.ts'
import { asOptionalText, parseObject } from './json.ts'

type Challenge = { readonly scheme: string; readonly parameters: ReadonlyMap<string, string> }

export type Asked = {
  /** For messages. */
  readonly registry: string
  readonly repository: string
  readonly credentials: Credentials | undefined
  /** May the address of a token server be used? */
  readonly allowed: (address: URL) => boolean
}

const LIMIT = { bytes: 1024 * 1024, code: 'E_REGISTRY_AUTH' } as const
const PATIENCE_MS = 30_000

/**
 * The value of an Authorization header for what `WWW-Authenticate` asks for. Throws E_REGISTRY_AUTH.
 * https://distribution.github.io/distribution/spec/auth/token/
 */
export async function authorize(header: string | null, asked: Asked): Promise<string> {
  const challenges = parseChallenges(header ?? '')
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
  if (bearer !== undefined) return `Bearer ${await fetchToken(bearer, asked)}`
  const { credentials } = asked
  if (!challenges.some(({ scheme }) => scheme === 'basic')) throw refused(asked, 'it asks for what varve does not know')
  if (credentials?.kind !== 'password') throw refused(asked, 'it wants a name and a password')
  return basic(credentials)
}

function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = []
  let parameters = new Map<string, string>()
  for (const [, scheme, key, quoted, plain] of header.matchAll(
    /(?:^|[\s,])([A-Za-z]+)(?=\s+[A-Za-z]+=|\s*$)|([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g,
  )) {
    if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: (parameters = new Map()) })
    else if (key !== undefined) parameters.set(key.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '')
  }
  return challenges
}

async function fetchToken({ parameters }: Challenge, asked: Asked): Promise<string> {
  const realm = parameters.get('realm') ?? ''
  if (!URL.canParse(realm)) throw refused(asked, 'the address of its token server is none')
  const address = new URL(realm)
  if (!asked.allowed(address))
    throw refused(asked, `its token server "${escapeControls(address.origin)}" is not reached by https`)
  const words = { scope: parameters.get('scope') ?? `repository:${asked.repository}:pull` }
  const service = parameters.get('service')
  const response = await ask(address, { ...words, ...(service === undefined ? {} : { service }) }, asked)
  if (!response.ok) {
    await response.body?.cancel()
    throw refused(asked, `its token server "${escapeControls(address.origin)}" answered ${response.status}`)
  }
  const what = `the answer of the token server "${escapeControls(address.origin)}"`
  const json = parseObject(await readBounded(response.body as unknown as AsyncIterable<Uint8Array>, what, LIMIT), what)
  const token = asOptionalText(json['token'], what) ?? asOptionalText(json['access_token'], what)
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) throw refused(asked, `${what} has no token`)
  return token
}

async function ask(address: URL, words: Readonly<Record<string, string>>, asked: Asked): Promise<Response> {
  const { credentials } = asked
  const common = { redirect: 'error', signal: AbortSignal.timeout(PATIENCE_MS) } as const
  try {
    if (credentials?.kind === 'identity') {
      const form = { ...words, grant_type: 'refresh_token', refresh_token: credentials.token, client_id: 'varve' }
      return await fetch(address, { ...common, method: 'POST', body: new URLSearchParams(form) })
    }
    for (const [key, value] of Object.entries(words)) address.searchParams.set(key, value)
    return await fetch(address, {
      ...common,
      headers: credentials === undefined ? {} : { authorization: basic(credentials) },
    })
  } catch (cause) {
    throw refused(
      asked,
      `its token server "${escapeControls(address.origin)}" does not answer: ${escapeControls(messageOf(cause))}`,
      cause,
    )
  }
}

function basic({ user, password }: Extract<Credentials, { kind: 'password' }>): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}

export function refused(
  { registry, repository, credentials }: Omit<Asked, 'allowed'>,
  why: string,
  cause?: unknown,
): VarveError {
  const hint =
    credentials === undefined
      ? `skopeo login ${registry}`
      : `the password in the auth file may be old: skopeo login ${registry}`
  return new VarveError('E_REGISTRY_AUTH', `cannot read "${repository}" at ${registry}: ${why}`, { hint, cause })
}

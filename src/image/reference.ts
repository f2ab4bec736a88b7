// Names of images in registries, as https://github.com/distribution/reference reads them.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import type { Digest } from './manifest.ts'

export type Reference = {
  /** `docker.io`, or HOST[:PORT]. */
  readonly registry: string
  readonly repository: string
  /** Not needed where there is a digest. */
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

const COMPONENT = '[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*'
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/
const REFERENCE = new RegExp(
  `^(${COMPONENT}(?:/${COMPONENT})*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`,
)

/** Without a host it is one of Docker Hub, without a tag or a digest it is `latest`. Throws E_IMAGE. */
export function parseReference(text: string): Reference {
  const { host, rest } = splitHost(text)
  const match = text.length > 1024 || (host !== undefined && !HOST.test(host)) ? null : REFERENCE.exec(rest)
  if (match === null)
    throw new VarveError('E_IMAGE', `cannot use "${escapeControls(text.slice(0, 200))}" as the name of an image`, {
      hint: 'write [HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST] in lower case, e.g. docker://debian:12',
    })
  const [, path = '', tag, digest] = match
  const registry = host === undefined || host === 'index.docker.io' ? 'docker.io' : host
  return {
    registry,
    repository: registry === 'docker.io' && !path.includes('/') ? `library/${path}` : path,
    tag: tag ?? (digest === undefined ? 'latest' : undefined),
    digest: digest as Digest | undefined,
  }
}

export function referenceText({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}

/** What stands before the first slash is a host only where it can be nothing else. */
function splitHost(text: string): { readonly host: string | undefined; readonly rest: string } {
  const slash = text.indexOf('/')
  const first = text.slice(0, Math.max(slash, 0))
  const isHost = /[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase()
  return isHost ? { host: first, rest: text.slice(slash + 1) } : { host: undefined, rest: text }
}

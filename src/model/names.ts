// The words of the command line, parsed once: container names, hosts, targets and sources.
import { VarveError } from '../errors.ts'
import { escapeControls } from './bytes.ts'

export type ContainerName = string & { readonly containerName: unique symbol }

export type HostRef =
  | { readonly kind: 'local' }
  | { readonly kind: 'ssh'; readonly host: string; readonly user?: string; readonly port?: number }

export type Target = { readonly host: HostRef; readonly container: ContainerName }

const SOURCE_KINDS = [
  'rootfs',
  'tar',
  'bundle',
  'oci',
  'oci-archive',
  'docker-archive',
  'docker',
  'docker-daemon',
  'containers-storage',
  'container',
] as const
export const SOURCES =
  'rootfs:DIR, tar:FILE, tar:-, bundle:DIR, container:NAME, docker-daemon:REF, containers-storage:REF, docker://REF, ' +
  'oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF]'
export type SourceRef = { readonly kind: (typeof SOURCE_KINDS)[number]; readonly location: string }

const NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/
const HOST = /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\])$/
const USER = /^[A-Za-z_][A-Za-z0-9_.@-]{0,63}$/

export function parseContainerName(text: string): ContainerName {
  if (!NAME.test(text))
    throw new VarveError(
      'E_NAME',
      `cannot use "${escapeControls(text.slice(0, 80))}" as a container name: it must match ${NAME.source}`,
      {
        hint: 'use lower-case letters, digits, "_", "." and "-", at most 63, e.g. me@host:fossil',
      },
    )
  return text as ContainerName
}

/** Reads `[user@]host:NAME`, `ssh://[user@]host[:port]/NAME` or `local:NAME`. Throws E_HOST, E_NAME. */
export function parseTarget(text: string): Target {
  const { host, name } = split(text)
  if (name === undefined || name === '')
    throw new VarveError('E_NAME', `cannot use "${escapeControls(text)}" as a target: it names no container`, {
      hint: 'write it as [user@]host:NAME, ssh://[user@]host[:port]/NAME or local:NAME',
    })
  return { host, container: parseContainerName(name) }
}

/** Reads a HOST with or without `:NAME`. Throws E_HOST, E_NAME. */
export function parseHost(text: string): { readonly host: HostRef; readonly container?: ContainerName } {
  const { host, name } = split(text)
  return name === undefined || name === '' ? { host } : { host, container: parseContainerName(name) }
}

/** Reads `KIND:LOCATION`, named as containers-transports(5) names them; of `docker://REF` the location is REF. Throws E_USAGE. */
export function parseSource(text: string): SourceRef {
  const colon = text.indexOf(':')
  const kind = SOURCE_KINDS.find((known) => known === text.slice(0, colon))
  const rest = text.slice(colon + 1)
  const location = kind === 'docker' ? rest.replace(/^\/\//, '') : rest
  if (kind === undefined || location === '' || location.includes('\0') || (kind === 'docker' && rest === location))
    throw new VarveError('E_USAGE', `cannot use "${escapeControls(text)}" as a source: it is none of ${SOURCES}`, {
      hint: `write for example rootfs:./rootfs`,
    })
  return { kind, location }
}

/** A source without layers. */
export type FlatRef = SourceRef & { readonly kind: 'rootfs' | 'tar' | 'bundle' }

/** How a source is written in messages and records. */
export function sourceText({ kind, location }: SourceRef): string {
  return `${kind}:${kind === 'docker' ? '//' : ''}${location}`
}

/** How a host is written in messages and in the local manifest. */
export function hostText(host: HostRef): string {
  if (host.kind === 'local') return 'local'
  return `${host.user === undefined ? '' : `${host.user}@`}${host.host}${host.port === undefined ? '' : `:${host.port}`}`
}

function split(text: string): { host: HostRef; name: string | undefined } {
  if (text.startsWith('ssh://')) return splitUrl(text)
  const match = /^(?:([^@]*)@)?(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(text)
  if (match === null) throw badHost(text, 'it has no host')
  const [, user, host = '', name] = match
  if (host === 'local' && user === undefined) return { host: { kind: 'local' }, name }
  return { host: sshHost(text, { user, host, port: undefined }), name }
}

function splitUrl(text: string): { host: HostRef; name: string | undefined } {
  const match = /^ssh:\/\/(?:([^@/]*)@)?(\[[^\]]*\]|[^:/]*)(?::([^/]*))?(?:\/(.*))?$/s.exec(text)
  if (match === null) throw badHost(text, 'it is no ssh:// address')
  const [, user, host = '', port, name] = match
  return { host: sshHost(text, { user, host, port }), name }
}

function sshHost(text: string, part: { user: string | undefined; host: string; port: string | undefined }): HostRef {
  if (part.host === '') throw badHost(text, 'the host is empty')
  if (!HOST.test(part.host)) throw badHost(text, `"${escapeControls(part.host)}" is no host name or [IPv6 address]`)
  if (part.user !== undefined && !USER.test(part.user))
    throw badHost(text, `"${escapeControls(part.user)}" is no user name`)
  const port = part.port === undefined ? undefined : Number(part.port)
  if (port !== undefined && !(/^[0-9]{1,5}$/.test(part.port ?? '') && port >= 1 && port <= 65535))
    throw badHost(text, 'the port is not between 1 and 65535')
  return {
    kind: 'ssh',
    host: part.host.replace(/^\[(.*)\]$/, '$1'),
    ...(part.user === undefined ? {} : { user: part.user }),
    ...(port === undefined ? {} : { port }),
  }
}

function badHost(text: string, why: string): VarveError {
  return new VarveError('E_HOST', `cannot use "${escapeControls(text.slice(0, 200))}" as a host: ${why}`, {
    hint: 'write it as [user@]host:NAME, ssh://[user@]host[:port]/NAME or local:NAME; an IPv6 address stands in [brackets]',
  })
}

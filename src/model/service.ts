// How a container is to be run on its host, and what of it runs.
import { VarveError } from '../errors.ts'
import { escapeControls } from './bytes.ts'
import type { Engine } from './engine.ts'

export type Service = {
  /** It was started, and not stopped since. */
  readonly wanted: boolean
  /** It is started when the host boots. */
  readonly boot: boolean
  readonly stopSeconds: number
  /** A start or a restart was begun and not ended: somebody is about it, or it was cut short. */
  readonly switching: boolean
  readonly restarting: boolean
  /** What varve started and is alive. */
  readonly runs: Run | undefined
  /** Paths in the container that outlive its generations. */
  readonly persist: readonly string[]
}

export type Run = {
  readonly generation: number
  readonly pid: number
  readonly since: Date
  readonly engine: Engine
}

/** When what was started is well: by itself after a second, by a port of its own, or by a command in the container. */
export type Health =
  | { readonly kind: 'none' }
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'command'; readonly text: string }

/** Throws E_PERSIST for what is no place for state. */
export function parsePersist(path: string): string {
  const plain = path.replace(/(?<=.)\/+$/, '')
  const why = againstPersist(plain)
  if (why !== undefined)
    throw new VarveError('E_PERSIST', `cannot persist "${escapeControls(path.slice(0, 200))}": ${why}`, {
      hint: 'write for example --persist /var/lib/app',
    })
  return plain
}

/** The option by which a container keeps what an engine has in a volume at this path. */
export function keepsVolume(path: string, source = 'SRC'): string {
  return againstPersist(path) === undefined ? `--persist ${path}` : `--mount ${source}:${escapeControls(path)}`
}

function againstPersist(path: string): string | undefined {
  if (path === '/') return 'it is the root'
  if (!/^(?:\/[A-Za-z0-9_.-]+)+$/.test(path)) return 'it is no absolute path of letters, digits, "_", "-" and "."'
  if (path.split('/').some((part) => part === '.' || part === '..')) return 'it leads through "." or ".."'
  return /^\/(?:proc|sys|dev)(?:\/|$)/.test(path) ? "it belongs to the host's kernel" : undefined
}

/** Where the host keeps what is persisted; flat, since a container may change all that lies in another one. */
export function persistedAt(path: string, at: { readonly store: string; readonly container: string }): string {
  return `${at.store}/c/${at.container}/data/${path.slice(1).replaceAll('/', '+')}`
}

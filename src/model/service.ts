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
  /** A start or a restart was cut short. */
  readonly switching: boolean
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
  const why = !/^(?:\/[A-Za-z0-9_.-]+)+$/.test(plain)
    ? 'it is no absolute path of letters, digits, "_", "-" and "."'
    : plain.split('/').some((part) => part === '.' || part === '..')
      ? 'it leads through "." or ".."'
      : /^\/(?:proc|sys|dev)(?:\/|$)/.test(plain)
        ? "it belongs to the host's kernel"
        : undefined
  if (why !== undefined || plain === '/')
    throw new VarveError(
      'E_PERSIST',
      `cannot persist "${escapeControls(path.slice(0, 200))}": ${plain === '/' ? 'it is the root' : why}`,
      { hint: 'write for example --persist /var/lib/app' },
    )
  return plain
}

/** Where the host keeps what is persisted; flat, since a container may change all that lies in another one. */
export function persistedAt(path: string, at: { readonly store: string; readonly container: string }): string {
  return `${at.store}/c/${at.container}/data/${path.slice(1).replaceAll('/', '+')}`
}

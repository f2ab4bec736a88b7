// Remembers which delta was on its way to which spool, so that a push after a lost connection goes on where that one ended.
import { randomBytes } from 'node:crypto'
import type { Handle } from './database.ts'

export type Upload = {
  /** Of its spool file. */
  readonly name: string
  /**
   * The names under which processes that are gone may have sent some of it, the last one first: which of them came as far as
   * the host's command is not known.
   */
  readonly begun: readonly string[]
  /** What it was made with, as `note` was told; empty where it is new. */
  readonly madeWith: string
}

export type Uploads = {
  begin(host: string, delta: string): Upload
  note(host: string, delta: string, madeWith: string): void
  end(host: string, delta: string): void
  /** Bytes a second of the link to a host, from the last upload that was long enough to tell. */
  rate(host: string): number | undefined
  keepRate(host: string, bytesPerSecond: number): void
}

/** So many connections in a row may be lost before the command runs there. */
const MOST_NAMES = 8

export function openUploads(database: Handle): Uploads {
  return {
    begin: (host, delta) =>
      database
        .transaction(() => {
          const row = database
            .prepare<[string, string], { name: string; owner: number; madeWith: string }>(
              'SELECT name, owner, made_with AS madeWith FROM upload WHERE host = ? AND delta = ?',
            )
            .get(host, delta)
          const known = row !== undefined && (row.owner === process.pid || !isAlive(row.owner)) ? row : undefined
          const name = randomBytes(32).toString('hex')
          const madeWith = known?.madeWith ?? ''
          const begun = known?.name.split(' ').slice(0, MOST_NAMES) ?? []
          database
            .prepare('INSERT OR REPLACE INTO upload (host, delta, name, owner, made_with) VALUES (?, ?, ?, ?, ?)')
            .run(host, delta, [name, ...begun].join(' '), process.pid, madeWith)
          return { name, begun, madeWith }
        })
        .immediate(),
    note: (host, delta, madeWith) =>
      void database.prepare('UPDATE upload SET made_with = ? WHERE host = ? AND delta = ?').run(madeWith, host, delta),
    rate: (host) =>
      database.prepare<[string], number>('SELECT bytes_per_second FROM link WHERE host = ?').pluck().get(host),
    keepRate: (host, bytesPerSecond) =>
      void database
        .prepare('INSERT OR REPLACE INTO link (host, bytes_per_second) VALUES (?, ?)')
        .run(host, bytesPerSecond),
    end: (host, delta) => void database.prepare('DELETE FROM upload WHERE host = ? AND delta = ?').run(host, delta),
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

// Remembers which delta was on its way to which spool, so that a push after a lost connection goes on where that one ended.
import { randomBytes } from 'node:crypto'
import type { Handle } from './database.ts'

export type Uploads = {
  /** A name for the spool file of this delta; `begun` is the one under which a process that is gone had sent some of it. */
  begin(host: string, delta: string): { readonly name: string; readonly begun: string | undefined }
  end(host: string, delta: string): void
}

export function openUploads(database: Handle): Uploads {
  return {
    begin: (host, delta) =>
      database
        .transaction(() => {
          const row = database
            .prepare<[string, string], { name: string; owner: number }>(
              'SELECT name, owner FROM upload WHERE host = ? AND delta = ?',
            )
            .get(host, delta)
          const begun = row !== undefined && (row.owner === process.pid || !isAlive(row.owner)) ? row.name : undefined
          const name = randomBytes(32).toString('hex')
          database
            .prepare('INSERT OR REPLACE INTO upload (host, delta, name, owner) VALUES (?, ?, ?, ?)')
            .run(host, delta, name, process.pid)
          return { name, begun }
        })
        .immediate(),
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

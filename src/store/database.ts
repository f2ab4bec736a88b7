// The local SQLite database: opened, migrated, and made anew where it is damaged, for it is only a cache.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { VarveError, messageOf } from '../errors.ts'

export type Handle = Database.Database

const APPLICATION_ID = 0x76617276
const MIGRATIONS = ['schema.sql', 'layers.sql']

/** Opens `<directory>/manifest.db`, WAL and synchronous=FULL. Throws E_IO where the directory cannot be used. */
export function openDatabase(directory: string): Handle {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new VarveError('E_IO', `cannot make the state directory "${directory}": ${messageOf(cause)}`, {
      hint: 'name another with --state-dir DIR',
      cause,
    })
  }
  if ((statSync(directory).mode & 0o022) !== 0)
    throw new VarveError('E_IO', `cannot use the state directory "${directory}": others may write to it`, {
      hint: `chmod go-w ${directory}`,
    })
  const file = join(directory, 'manifest.db')
  try {
    return open(file)
  } catch (error) {
    if (!isDamage(error)) throw new VarveError('E_IO', `cannot open "${file}": ${messageOf(error)}`, { cause: error })
    setAside(file)
    return open(file)
  }
}

function open(file: string): Handle {
  const database = new Database(file)
  try {
    database.pragma('busy_timeout = 5000')
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = FULL')
    database.pragma('foreign_keys = ON')
    database.pragma('trusted_schema = OFF')
    database.pragma('cell_size_check = ON')
    database.pragma('mmap_size = 268435456')
    database.pragma('temp_store = MEMORY')
    migrate(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function migrate(database: Handle): void {
  const version = Number(database.pragma('user_version', { simple: true }))
  if (version > MIGRATIONS.length) throw Object.assign(new Error('it is of a newer varve'), { code: 'SQLITE_NOTADB' })
  if (version === MIGRATIONS.length) return
  database
    .transaction(() => {
      for (const file of MIGRATIONS.slice(Number(database.pragma('user_version', { simple: true }))))
        database.exec(readFileSync(new URL(`./${file}`, import.meta.url), 'utf8'))
      database.pragma(`application_id = ${APPLICATION_ID}`)
      database.pragma(`user_version = ${MIGRATIONS.length}`)
    })
    .immediate()
}

function isDamage(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code)
  return code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB' || code === 'SQLITE_ERROR'
}

function setAside(file: string): void {
  let number = 1
  while (existsSync(`${file}.corrupt-${number}`)) number++
  renameSync(file, `${file}.corrupt-${number}`)
  for (const beside of [`${file}-wal`, `${file}-shm`]) rmSync(beside, { force: true })
}

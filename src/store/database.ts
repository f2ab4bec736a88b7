// The local SQLite database: opened, migrated, and made anew where it is damaged, for it is only a cache.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { VarveError, messageOf } from '../errors.ts'

export type Handle = Database.Database

const APPLICATION_ID = 0x76617276
const MIGRATIONS = ['schema.sql', 'layers.sql', 'cache.sql', 'link.sql', 'sketch.sql']

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
  const database = withKeptStatements(new Database(file))
  try {
    database.exec('PRAGMA busy_timeout = 5000')
    database.exec('PRAGMA journal_mode = WAL')
    database.exec('PRAGMA synchronous = FULL')
    database.exec('PRAGMA foreign_keys = ON')
    database.exec('PRAGMA trusted_schema = OFF')
    database.exec('PRAGMA cell_size_check = ON')
    database.exec('PRAGMA mmap_size = 268435456')
    database.exec('PRAGMA temp_store = MEMORY')
    migrate(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function migrate(database: Handle): void {
  const version = Number(database.prepare('PRAGMA user_version').pluck().get())
  if (version > MIGRATIONS.length) throw Object.assign(new Error('it is of a newer varve'), { code: 'SQLITE_NOTADB' })
  if (version === MIGRATIONS.length) return
  database
    .transaction(() => {
      for (const file of MIGRATIONS.slice(Number(database.prepare('PRAGMA user_version').pluck().get())))
        database.exec(readFileSync(new URL(`../store/${file}`, import.meta.url), 'utf8'))
      database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
      database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`)
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

// From 24.21 on Node aborts when a native object is collected while no context is entered
// (https://github.com/nodejs/node/blob/main/src/node_object_wrap.h), so none of SQLite's ever is: a few, and the same ones again.
const kept = new Set<unknown>()

function withKeptStatements(database: Database.Database): Database.Database {
  const prepare = database.prepare.bind(database)
  const statements = new Map<string, Database.Statement>()
  kept.add(database)
  const prepareOnce = (sql: string): Database.Statement => {
    const statement = statements.get(sql) ?? prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  return Object.assign(database, { prepare: prepareOnce as typeof database.prepare })
}

// The law of the rooms, as a table: which room may import which, what stays pure, and one door for each package.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'
import { exitStatus } from '../src/errors.ts'

const source = join(import.meta.dirname, '../src')

/** For each room the rooms that it may import, itself included; '' is src/ itself. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  model: ['errors', 'model'],
  tar: ['errors', 'model', 'tar'],
  source: ['errors', 'model', 'tar', 'source'],
  image: ['errors', 'model', 'tar', 'image'],
  engine: ['errors', 'model', 'tar', 'image', 'engine'],
  store: ['errors', 'model', 'tar', 'store'],
  plan: ['errors', 'model', 'plan'],
  delta: ['errors', 'model', 'tar', 'delta'],
  host: ['errors', 'model', 'host'],
  bundle: ['errors', 'model', 'bundle'],
  verbs: ['errors', 'model', 'tar', 'source', 'image', 'engine', 'store', 'plan', 'delta', 'host', 'bundle', 'verbs'],
  cli: ['errors', 'model', 'plan', 'verbs', 'cli'],
  index: ['errors', 'model', 'plan', 'verbs'],
}
const pure = ['model', 'plan', 'bundle', 'errors']
const doors: Readonly<Record<string, readonly string[]>> = {
  'better-sqlite3': ['store/database.ts'],
  'xxhash-wasm': ['store/hash.ts'],
  ssh2: ['host/ssh.ts', 'host/login.ts'],
  'ssh-config': ['host/ssh-config.ts'],
  'zstd-napi': ['delta/zstd.ts', 'store/cache.ts', 'tar/decompress.ts'],
  'zstd-napi/binding.js': ['delta/zstd.ts', 'tar/decompress.ts'],
  'tar-stream': ['tar/write.ts', 'tar/write-member.ts'],
  '@napi-rs/xattr': ['source/xattrs.ts'],
  commander: ['cli/main.ts', 'cli/program.ts', 'cli/ship.ts', 'cli/run.ts'],
}
/** Files a room; verbs, host and runtime have one a verb or a step of the way to a host, tar one a step from bytes to a tree, model one a noun, bundle one a part of config.json. */
const most: Readonly<Record<string, number>> = {
  verbs: 30,
  delta: 19,
  store: 13,
  host: 14,
  runtime: 29,
  plan: 11,
  tar: 15,
  model: 14,
  image: 17,
  engine: 11,
  bundle: 14,
  cli: 10,
}

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(ts|sh|sql)$/.test(file))
const roomOf = (file: string): string =>
  dirname(file) === '.' ? file.replace(/\.ts$/, '') : (file.split('/')[0] ?? '')
const textOf = (file: string): string => readFileSync(join(source, file), 'utf8')
const importsOf = (file: string): string[] =>
  [...textOf(file).matchAll(/^(?:import|export)[^'"]*? from '([^']+)'/gms)].map((match) => match[1] ?? '')

test.each(files.filter((file) => file.endsWith('.ts')))('%s imports only what its room may', (file) => {
  const room = roomOf(file)
  for (const imported of importsOf(file)) {
    if (imported.startsWith('.')) {
      const other = roomOf(relative(source, join(source, dirname(file), imported)))
      expect(rooms[room], `${file} imports ${imported}`).toContain(other)
    } else if (imported.startsWith('node:')) expect(pure, `${file} imports ${imported}`).not.toContain(room)
    else expect(doors[imported], `${file} imports ${imported}`).toContain(file)
  }
})

test.each(files)('%s is short and says first what it is for', (file) => {
  const text = textOf(file)
  expect(text.split('\n').length).toBeLessThanOrEqual(301)
  expect(text.split('\n')[0]).toMatch(/^(\/\/|#|--) \S.{20,}/)
})

test('a room has at most nine files, or as many as the table says', () => {
  const sizes = new Map<string, number>()
  for (const file of files) sizes.set(roomOf(file), (sizes.get(roomOf(file)) ?? 0) + 1)
  for (const [room, size] of sizes) expect(size, room).toBeLessThanOrEqual(most[room] ?? 9)
})

test('the library never prints, exits or reads the environment', () => {
  for (const file of files.filter((name) => name.endsWith('.ts') && roomOf(name) !== 'cli'))
    expect(textOf(file), file).not.toMatch(/\bprocess\.(env|exit|stdout|stderr|argv)\b|\bconsole\./)
})

test('the runtime dies only with codes that errors.ts lists', () => {
  for (const file of files.filter((name) => name.endsWith('.sh')))
    for (const [, code = ''] of textOf(file).matchAll(/\bdie (E_[A-Z_]+)/g))
      expect(Object.keys(exitStatus), `${file}: ${code}`).toContain(code)
})

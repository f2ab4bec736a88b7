// Opens what the user named: one line for each kind of source.
import { readFileSync, realpathSync } from 'node:fs'
import { join as joinPath, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { VarveError, messageOf } from '../errors.ts'
import { byteString, escapeControls, type ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { FileFact, Reading } from '../model/facts.ts'
import type { FlatRef } from '../model/names.ts'
import type { Tree } from '../model/tree.ts'
import { readContents, readWhole } from './contents.ts'
import { scanDirectory, type ChangeHash } from './directory.ts'
import { openTarFile } from './tar-file.ts'

export type Warning = { readonly code: string; readonly message: string }

export type SourceOptions = {
  readonly hash: ChangeHash
  /** What is remembered of a directory, by its name. */
  readonly reading: (name: string) => Reading | undefined
  readonly stdin: Readable
  readonly spoolDirectory: string
  readonly onWarning: (warning: Warning) => void
  readonly onProgress: (progress: { entries: number; bytes: number }) => void
}

export type Source = AsyncDisposable & {
  /** The tree, or the id of the tree that it still is since the remembered reading. */
  readonly tree: { readonly kind: 'read'; readonly tree: Tree } | { readonly kind: 'unchanged'; readonly id: string }
  /** What to remember of this reading; undefined where it could not be relied on. */
  readonly reading:
    | { readonly name: string; readonly digest: bigint; readonly facts: ReadonlyMap<ByteString, FileFact> }
    | undefined
  /** A file's bytes once more: at once where it is small. Throws E_SOURCE_CHANGED. */
  readonly contents: (file: FileEntry) => AsyncIterable<Uint8Array> | Uint8Array
  /** The text of a bundle's config.json. */
  readonly config: string | undefined
}

const SMALL = 1 << 20

/** Throws E_SOURCE and the errors of the kind of source. */
export async function openSource(ref: FlatRef, options: SourceOptions): Promise<Source> {
  switch (ref.kind) {
    case 'rootfs':
      return openDirectory(ref.location, undefined, options)
    case 'bundle':
      return openBundle(ref.location, options)
    case 'tar':
      return openTar(ref.location, options)
  }
}

async function openTar(location: string, options: SourceOptions): Promise<Source> {
  const file = await openTarFile(location, {
    stdin: options.stdin,
    spoolDirectory: options.spoolDirectory,
    onWarning: options.onWarning,
    onProgress: (bytes) => options.onProgress({ entries: 0, bytes }),
  })
  return {
    tree: { kind: 'read', tree: file.tree },
    reading: undefined,
    contents: (entry) => (entry.size <= SMALL ? file.readSmall(entry.path) : file.contents(entry.path)),
    config: undefined,
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  }
}

/** A bundle as https://github.com/opencontainers/runtime-spec/blob/v1.0.2/bundle.md has it. */
async function openBundle(location: string, options: SourceOptions): Promise<Source> {
  const file = joinPath(location, 'config.json')
  const name = escapeControls(file)
  let config: string
  try {
    config = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new VarveError('E_SOURCE', `cannot read "${name}": ${messageOf(cause)}`, {
      hint: 'a bundle is a directory with config.json and the root filesystem',
      cause,
    })
  }
  return openDirectory(rootOf(config, { location, name }), config, options)
}

function rootOf(config: string, { location, name }: { readonly location: string; readonly name: string }): string {
  let path: unknown
  try {
    path = (JSON.parse(config) as { root?: { path?: unknown } } | null)?.root?.path
  } catch (cause) {
    throw new VarveError('E_CONFIG', `cannot use "${name}": it is no JSON`, { cause })
  }
  if (typeof path !== 'string' || path === '')
    throw new VarveError('E_CONFIG', `cannot use "${name}": it has no root.path`)
  const root = resolve(location, path)
  if (!root.startsWith(`${resolve(location).replace(/\/$/, '')}/`))
    throw new VarveError(
      'E_CONFIG',
      `cannot use "${name}": its root.path "${escapeControls(path)}" is not in the bundle`,
      {
        hint: `where that is meant, name both: rootfs:${escapeControls(root)} --config ${name}`,
      },
    )
  return root
}

async function openDirectory(location: string, config: string | undefined, options: SourceOptions): Promise<Source> {
  const root = realRoot(location)
  const name = `rootfs:${root}`
  const previous = options.reading(name)
  const scan = await scanDirectory(root, {
    hash: options.hash,
    previous,
    onWarning: options.onWarning,
    onProgress: options.onProgress,
  })
  let facts = scan.tree === undefined ? undefined : scan.facts
  return {
    tree: scan.tree === undefined ? { kind: 'unchanged', id: previous?.tree ?? '' } : { kind: 'read', tree: scan.tree },
    reading: scan.tree !== undefined && scan.lasting ? { name, digest: scan.digest, facts: scan.facts } : undefined,
    contents: (file) => contentsOf(root, file, (facts ??= previous?.facts())?.get(file.path)),
    config,
    [Symbol.asyncDispose]: async () => {},
  }
}

function contentsOf(
  root: ByteString,
  file: FileEntry,
  fact: FileFact | undefined,
): AsyncIterable<Uint8Array> | Uint8Array {
  if (fact === undefined) throw new VarveError('E_BUG', 'cannot read contents again: no facts were kept of the file')
  if (file.size <= SMALL) return readWhole(root, file.path, fact)
  return copies(readContents(root, file.path, fact))
}

/** The reader fills one buffer again and again; who reads ahead needs bytes of its own. */
async function* copies(chunks: Iterable<Buffer>): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk)
}

function realRoot(location: string): ByteString {
  try {
    return byteString(Buffer.from(realpathSync(location)).toString('latin1'))
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    const why =
      code === 'ENOENT' ? 'there is no such directory' : code === 'EACCES' ? 'permission denied' : messageOf(cause)
    throw new VarveError('E_SOURCE', `cannot read "${escapeControls(location)}": ${why}`, {
      hint: 'name the directory that holds bin, etc, usr ..., e.g. rootfs:./rootfs',
      cause,
    })
  }
}

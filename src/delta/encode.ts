// Turns a plan into a delta: a tar whose first member is the steps, compressed with the codec of the host.
//
// Members lie below stage/, where the host unpacks them (runtime/receive.sh): `steps`, `drop`, `alias`, `times` and `xattrs`
// are words to the runtime; `m` is what is made anew; `k` holds empty files with the metadata of copies that the host
// makes of the same path of its base, `j` of copies that it makes of the contents that `l` links to.
import { byteString, type ByteString } from '../model/bytes.ts'
import type { FileEntry, Metadata } from '../model/entry.ts'
import { xattrLines } from '../model/manifest.ts'
import type { Plan, Step } from '../model/plan.ts'
import type { Tree } from '../model/tree.ts'
import { writeTar, type Dialect, type Member } from '../tar/write.ts'
import { compress, type Codec } from './codec.ts'

export type DeltaOptions = {
  readonly tree: Tree
  readonly dialect: Dialect
  readonly codec: Codec
  /** The contents of a file that is sent. */
  readonly contents: (file: FileEntry) => AsyncIterable<Uint8Array> | Uint8Array
  readonly onProgress?: (bytes: number) => void
}

export type Encoded = {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly codec: Codec
  /** Bytes of the tar before compression, once all was read. */
  readonly raw: () => number
}

const PLAIN: Metadata = { mode: 0o600, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }

/** The same plan and options give the same bytes. */
export function encodeDelta(plan: Plan, options: DeltaOptions): Encoded {
  let raw = 0
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of writeTar(members(plan, options), options.dialect)) {
      raw += chunk.length
      options.onProgress?.(raw)
      yield chunk
    }
  }
  return { chunks: compress(counted(), options.codec, plan.bytes.changed), codec: options.codec, raw: () => raw }
}

function* members(plan: Plan, options: DeltaOptions): Generator<Member> {
  yield word('steps', stepsText(plan))
  if (plan.drop.length > 0) yield word('drop', plan.drop.map((path) => `./${path}\0`).join(''))
  const aliases = plan.steps
    .filter((step) => step.kind === 'alias' && step.copied)
    .map((step) => step.entry as FileEntry)
  if (aliases.length > 0) yield word('alias', aliases.map((file) => `./${file.first}//./${file.path}\0`).join(''))
  const xattrs = xattrLines(options.tree)
  if (xattrs.length > 0) yield word('xattrs', xattrs.join(''))
  if (options.dialect === 'gnu') yield word('times', timesText(plan))
  for (const step of plan.steps) yield* stepMembers(step, plan, options)
}

function stepsText(plan: Plan): string {
  const uses = new Set(
    plan.steps.flatMap((step) => (step.kind === 'link' || step.kind === 'copy' ? [step.from.tree] : [])),
  )
  if (plan.base !== undefined) uses.add(plan.base)
  const lines = [
    'varve-delta 1',
    `tree ${plan.tree}`,
    `base ${plan.base ?? '-'}`,
    ...[...uses].toSorted().map((id) => `uses ${id}`),
    'end',
  ]
  return lines.map((line) => `${line}\n`).join('')
}

/**
 * BusyBox tar leaves the times of directories and symlinks as they fall: the host sets them last. A pair is one word,
 * since xargs may end a batch behind any.
 */
function timesText(plan: Plan): string {
  const made = plan.steps.filter((step) => step.kind === 'make')
  return made.map(({ entry }) => `@${entry.mtimeNs / 1_000_000_000n} ./${entry.path}\0`).join('')
}

function word(name: string, text: string): Member {
  const bytes = Buffer.from(text, 'latin1')
  return { ...PLAIN, name: byteString(`stage/${name}`), kind: 'file', size: bytes.length, contents: () => bytes }
}

function* stepMembers(step: Step, plan: Plan, options: DeltaOptions): Generator<Member> {
  const { entry } = step
  const name = inStage('m', entry.path)
  switch (step.kind) {
    case 'make':
      yield { ...step.entry, name }
      break
    case 'send':
      yield { ...step.entry, name, contents: () => options.contents(step.entry) }
      break
    case 'alias':
      if (!step.copied) yield { ...PLAIN, name, kind: 'hardlink', target: inStage('m', step.entry.first) }
      break
    case 'link':
      yield { ...PLAIN, name, kind: 'hardlink', target: byteString(`tree/${step.from.tree}/root/${step.from.path}`) }
      break
    case 'copy':
      if (step.from.tree === plan.base && step.from.path === entry.path) yield skeleton('k', step.entry)
      else {
        yield skeleton('j', step.entry)
        yield {
          ...PLAIN,
          name: inStage('l', entry.path),
          kind: 'hardlink',
          target: byteString(`tree/${step.from.tree}/root/${step.from.path}`),
        }
      }
      break
  }
}

/** A file without contents: it only carries metadata. */
function skeleton(room: 'k' | 'j', entry: FileEntry): Member {
  return { ...entry, name: inStage(room, entry.path), size: 0, contents: () => new Uint8Array() }
}

function inStage(room: 'm' | 'k' | 'j' | 'l', path: ByteString): ByteString {
  return byteString(path === '' ? `stage/${room}` : `stage/${room}/${path}`)
}

// Turns a plan into a delta: frames, and behind them a tar whose first member is the steps, compressed with the codec of the host.
//
// Members lie below stage/, where the host unpacks them (runtime/receive.sh, runtime/build.sh): `steps`, `drop`, `alias`, `times` and `xattrs`
// are words to the runtime; `m` is what is made anew; `k` holds empty files with the metadata of copies that the host
// makes of the same path of its base, `j` of copies that it makes of the contents that `l` links to, by the patches in `p`, or
// of what it made so before, as `again` says. The tars before this one are frames of zstd or xz that are decoded with the files of
// `r1`, `r2` ... before them: they hold whole files for `c`, where copies are made too. What is in a frame is known sooner than
// what patches are, so the link has something to do meanwhile.
import { byteString, type ByteString } from '../model/bytes.ts'
import type { FileEntry, Metadata } from '../model/entry.ts'
import { xattrLines } from '../model/manifest.ts'
import type { Place, Plan, Step } from '../model/plan.ts'
import type { Tree } from '../model/tree.ts'
import { writeTar, type Dialect, type Member } from '../tar/write.ts'
import { compress, type Packing } from './codec.ts'
import type { Codec } from './effort.ts'
import { framesOf, type Frame } from './frames.ts'
import { saySame } from './same.ts'
import { STREAMS, sizeOfPatch } from './streams.ts'
import type { FrameTool } from './work.ts'
import { NO_WAYS, type Contents, type Segment, type Ways } from './ways.ts'

export type DeltaOptions = {
  /** How it is compressed, and frames are made; not at all when left out. */
  readonly packing?: Packing
  readonly tree: Tree
  readonly dialect: Dialect
  /** The contents of a file that is sent. */
  readonly contents: Contents
  /** How files are said, where not whole; and the old bytes for it, by SHA-256. */
  readonly ways?: Ways
  readonly old?: (sha256: string) => Uint8Array | undefined
  /** What decodes frames, zstd when left out. */
  readonly frames?: FrameTool
  /** The plan's base, where the host has its manifest and can make members of it. */
  readonly base?: Tree
  /** The host runs x86 programs, and so most likely does what it is sent. */
  readonly x86?: boolean
  readonly onProgress?: (bytes: number) => void
}

export type Encoded = {
  readonly chunks: AsyncIterable<Uint8Array>
  /**
   * Once all was read: how the tar behind the frames is to be decoded, "CODEC:SIZE" for each part of it, joined by commas. "+same" behind
   * says that it begins with what delta/same.ts says.
   */
  readonly codec: () => string
  /** Bytes of that tar before compression, once all was read. */
  readonly raw: () => number
  /** Of each frame: its bytes, and those of its tar. */
  readonly frames: () => readonly { readonly size: number; readonly raw: number }[]
}

const PLAIN: Metadata = { mode: 0o600, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }

/** The same plan and options give the same bytes. */
export function encodeDelta(plan: Plan, options: DeltaOptions): Encoded {
  let raw = 0
  let told = 0
  const parts: { codec: Codec; size: number }[] = []
  const frames: { size: number; raw: number }[] = []
  const { ways = NO_WAYS, dialect, base } = options
  const same = base === undefined ? undefined : saySame(plan, base)
  const begun = same !== undefined && same.steps.size > 0
  const left = begun ? { ...plan, steps: plan.steps.filter((step) => !same.steps.has(step)) } : plan
  async function* counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      raw += chunk.length
      yield chunk
    }
  }
  async function* packed(
    chunks: AsyncIterable<Uint8Array>,
    bytes: number,
    programs: boolean,
  ): AsyncGenerator<Uint8Array> {
    for await (const piece of compress({ chunks: counted(chunks), bytes, programs }, options.packing)) {
      const last = parts.at(-1)
      if (last?.codec === piece.codec) last.size += piece.bytes.length
      else parts.push({ codec: piece.codec, size: piece.bytes.length })
      yield piece.bytes
    }
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    const segments: Segment[] = []
    for await (const frame of framesIn(ways, options)) {
      segments.push(frame.segment)
      let size = 0
      for await (const part of frame.parts) {
        size += part.length
        yield part
      }
      frames.push({ size, raw: frame.raw })
      options.onProgress?.((told += frame.raw))
    }
    const { patched } = ways
    const said = new Set([...patched.keys(), ...segments.flatMap(({ files }) => files.map(({ path }) => path))])
    const saying = { ...options, patched, segments, said }
    const words = async function* (): AsyncGenerator<Uint8Array> {
      if (begun) yield Buffer.from(`same ${same.text.length} ${plan.base}\n${same.text}`)
      yield* writeTar(wordMembers(left, saying), dialect, { end: false })
    }
    const files = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of writeTar(stepMembers(left, saying), dialect)) {
        options.onProgress?.((told += chunk.length))
        yield chunk
      }
    }
    const whole = plan.steps.reduce((sum, step) => sum + (step.kind === 'send' && !said.has(step.entry.path) ? step.entry.size : 0), 0) // prettier-ignore
    const small = (same?.text.length ?? 0) + [...patched.values()].reduce((sum, { patch }) => sum + sizeOfPatch(patch), 0) // prettier-ignore
    const headers = left.steps.length * HEADER
    // programs are compressed in another way than what is said about them, where there are enough of either
    if (whole > ENOUGH && small > ENOUGH) {
      yield* packed(words(), small, false)
      yield* packed(files(), whole + headers, options.x86 === true)
    } else yield* packed(joined(words(), files()), whole + small + headers, options.x86 === true && whole > ENOUGH)
  }
  return {
    chunks: all(),
    codec: () => parts.map(({ codec, size }) => `${codec}:${size}`).join(',') + (begun ? '+same' : ''),
    raw: () => raw,
    frames: () => frames,
  }
}

const ENOUGH = 64 << 10
/** About what tar has for an entry. */
const HEADER = 1024

function framesIn(ways: Ways, options: DeltaOptions): AsyncIterable<Frame> | readonly Frame[] {
  const { packing, dialect, contents, old = () => undefined, frames: tool = 'zstd' } = options
  return packing === undefined ? [] : framesOf(ways, { packing, dialect, contents, old, tool })
}

async function* joined(...sources: readonly AsyncIterable<Uint8Array>[]): AsyncGenerator<Uint8Array> {
  for (const source of sources) yield* source
}

type Saying = DeltaOptions & {
  readonly patched: Ways['patched']
  readonly segments: readonly Segment[]
  /** What is in either. */
  readonly said: ReadonlySet<ByteString>
}

/** What is said to the runtime, before what tar makes. */
function* wordMembers(plan: Plan, options: Saying): Generator<Member> {
  const { patched, segments, said } = options
  yield word('steps', stepsText(plan, options))
  if (plan.drop.length > 0) yield word('drop', plan.drop.map((path) => `./${path}\0`).join(''))
  const aliases = plan.steps
    .filter((step) => step.kind === 'alias' && (step.copied || said.has(step.entry.first)))
    .map((step) => step.entry as FileEntry)
  if (aliases.length > 0) yield word('alias', aliases.map((file) => `./${file.first}//./${file.path}\0`).join(''))
  const again = plan.steps.filter((step): step is Copy => step.kind === 'copy' && isAgain(step, plan, said))
  if (again.length > 0)
    yield word('again', again.map(({ from, entry }) => `./${from.path}//./${entry.path}\0`).join(''))
  const xattrs = xattrLines(options.tree)
  if (xattrs.length > 0) yield word('xattrs', xattrs.join(''))
  if (options.dialect === 'gnu') yield word('times', timesText(plan))
  for (const [i, { references }] of segments.entries())
    yield word(`r${i + 1}`, references.map((reference) => `${placeText(reference)}\0`).join(''))
  if (patched.size > 0) yield* patchMembers(patched)
}

function* stepMembers(plan: Plan, options: Saying): Generator<Member> {
  for (const step of plan.steps) yield* membersOf(step, plan, options)
}

/** The streams of all files, each kind behind one another. */
function* patchMembers(patched: Ways['patched']): Generator<Member> {
  const list = [...patched].map(([path, { reference, size, patch }]) => {
    const sizes = [size, ...STREAMS.map((name) => patch[name].length)]
    const places = patch.segments.map((segments) => segments.map(({ offset, address, size: length }) => `${offset}:${address}:${length}`).join(',')) // prettier-ignore
    return `${placeText(reference)}\0${path}\0${[...sizes, ...places].join(' ').trim()}\0`
  })
  yield word('p/list', list.join(''))
  for (const name of STREAMS)
    yield bytesMember(`p/${name}`, Buffer.concat([...patched.values()].map(({ patch }) => patch[name])))
}

function stepsText(plan: Plan, { patched, segments }: Saying): string {
  const uses = new Set([
    ...plan.steps.flatMap((step) => (step.kind === 'link' || step.kind === 'copy' ? [step.from.tree] : [])),
    ...[...patched.values()].map(({ reference }) => reference.tree),
    ...segments.flatMap(({ references }) => references.map(({ tree }) => tree)),
  ])
  if (plan.base !== undefined) uses.add(plan.base)
  uses.delete(plan.tree)
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
  return bytesMember(name, Buffer.from(text, 'latin1'))
}

function bytesMember(name: string, bytes: Buffer): Member {
  return { ...PLAIN, name: byteString(`stage/${name}`), kind: 'file', size: bytes.length, contents: () => bytes }
}

function* membersOf(step: Step, plan: Plan, { contents, patched, said }: Saying): Generator<Member> {
  const { entry } = step
  const name = inStage('m', entry.path)
  switch (step.kind) {
    case 'make':
      yield { ...step.entry, name }
      break
    case 'send':
      if (patched.has(entry.path)) yield skeleton('j', step.entry)
      else if (!said.has(entry.path)) yield { ...step.entry, name, contents: () => contents(step.entry) }
      break
    case 'alias':
      if (!step.copied && !said.has(step.entry.first))
        yield { ...PLAIN, name, kind: 'hardlink', target: inStage('m', step.entry.first) }
      break
    case 'link':
      yield { ...PLAIN, name, kind: 'hardlink', target: placeText(step.from) }
      break
    case 'copy':
      if (step.from.tree === plan.base && step.from.path === entry.path) yield skeleton('k', step.entry)
      else {
        yield skeleton('j', step.entry)
        const target = step.from.tree === plan.tree ? inStage('m', step.from.path) : placeText(step.from)
        if (!isAgain(step, plan, said)) yield { ...PLAIN, name: inStage('l', entry.path), kind: 'hardlink', target }
      }
      break
  }
}

type Copy = Extract<Step, { kind: 'copy' }>

/** A copy of what the host makes of old contents first, so that no member can be a link to it. */
function isAgain({ from }: Copy, { tree }: Plan, said: ReadonlySet<ByteString>): boolean {
  return from.tree === tree && said.has(from.path)
}

/** A file without contents: it only carries metadata. */
function skeleton(room: 'k' | 'j', entry: FileEntry): Member {
  return { ...entry, name: inStage(room, entry.path), size: 0, contents: () => new Uint8Array() }
}

function placeText({ tree, path }: Place): ByteString {
  return byteString(`tree/${tree}/root/${path}`)
}

function inStage(room: 'm' | 'k' | 'j' | 'l', path: ByteString): ByteString {
  return byteString(path === '' ? `stage/${room}` : `stage/${room}/${path}`)
}

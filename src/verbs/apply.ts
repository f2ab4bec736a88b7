// apply: a fossil that pack made, sent to a host and switched to; what it was made against must be there.
import { open, type FileHandle } from 'node:fs/promises'
import { parseObject, textAt } from '../bundle/document.ts'
import { ENGINE_ANNOTATION } from '../bundle/settings.ts'
import { fossilParts, readFossil } from '../delta/fossil.ts'
import { VarveError, messageOf } from '../errors.ts'
import { ENGINES, type Engine } from '../model/engine.ts'
import { hostText, type Target } from '../model/names.ts'
import { sha256 } from '../store/hash.ts'
import { checkTools, connect, manifestOf, type Context } from './context.ts'
import { activateOn, askReceive, retrying, uploadTo } from './deliver.ts'
import { nowOf } from './prepare.ts'
import { readyFor, runOn, unfinished, type RunOptions, type Started } from './run.ts'

export type Applied = {
  readonly host: string
  readonly container: string
  readonly generation: number
  readonly previous: number
  readonly bundle: string
  /** The generation that runs, as far as varve started it. */
  readonly runs: number | null
  readonly started: Started | null
  /** On the wire, the whole session. */
  readonly bytes: { readonly sent: number; readonly received: number }
}

export type ApplyOptions = { readonly file: string; readonly target: Target; readonly restart: RunOptions | undefined }

const MOST_HEAD = 1 << 20

/** Throws E_SOURCE, E_HASH for what is no whole fossil, E_BASE_MISSING where the host lacks what it was made against. */
export async function apply(at: ApplyOptions, context: Context): Promise<Applied> {
  const spent = { sent: 0, received: 0 }
  const applied = await retrying(context, (again) => applyOnce(at, again, spent))
  return { ...applied, bytes: spent }
}

type Spent = { sent: number; received: number }

async function applyOnce(at: ApplyOptions, context: Context, spent: Spent): Promise<Omit<Applied, 'bytes'>> {
  await using file = await openFossil(at.file)
  const beginning = await bytesOf(file, 0, MOST_HEAD)
  const { fossil, headSize } = readFossil(beginning)
  const parts = fossilParts(fossil, (await file.stat()).size, headSize)
  const config = await bytesOf(file, parts.config, fossil.config.head + fossil.config.tail)
  const [head, tail] = [config.subarray(0, fossil.config.head), config.subarray(fossil.config.head)]
  if (sha256(Buffer.concat([head, Buffer.from('rootfs'), tail])) !== fossil.config.sha256) throw damaged(at.file)
  using manifest = manifestOf(context)
  await using connected = await connect(at.target.host, context)
  using _ = { [Symbol.dispose]: () => add(spent, connected.traffic()) }
  const survey = await connected.survey(at.target.container)
  checkTools(survey)
  const now = nowOf(survey, at.target)
  const lacking = fossil.needs.find((id) => !survey.trees.includes(id))
  if (lacking !== undefined)
    throw new VarveError(
      'E_BASE_MISSING',
      `cannot apply "${at.file}": it is made against ${fossil.against}, of which ${hostText(at.target.host)} lacks the tree ${lacking.slice(0, 12)}`,
      { hint: `varve pack SOURCE -o FILE --for ${hostText(at.target.host)}:${at.target.container}` },
    )
  const { container } = at.target
  const restart = at.restart ?? unfinished(now, context)
  if (restart !== undefined)
    await readyFor({ ...runBy(head, tail), rootfs: fossil.rootfs }, { connected, container, restart })
  let generation = now.container?.current ?? 0
  const same =
    now.generation?.stack.join(',') === fossil.stack.join(',') && now.generation.config === fossil.config.sha256
  if (same) await connected.session.ask(['converge', at.target.container])
  else {
    for (const [i, delta] of fossil.deltas.entries()) {
      if (survey.trees.includes(delta.tree)) continue
      context.onEvent({ kind: 'step', step: 'send' })
      const make = async (): Promise<AsyncIterable<Uint8Array>> => piece(file, parts.deltas[i] ?? 0, delta.size)
      const delivered = await uploadTo({ connected, survey, manifest, context }, { ...delta, make })
      if (delivered.sha256 !== delta.sha256) throw damaged(at.file)
      const frames = delta.frames.map(({ size, raw }) => `${size}:${raw}`)
      await askReceive(connected, delta, delivered, [delta.codec, String(delta.raw), ...frames])
    }
    context.onEvent({ kind: 'step', step: 'apply' })
    generation = now.container?.next ?? 1
    await activateOn(connected, {
      container: at.target.container,
      store: context.store,
      now,
      number: generation,
      stack: fossil.stack,
      rootfs: fossil.rootfs,
      config: (path) => Buffer.concat([head, Buffer.from(path), tail]),
      configSha256: fossil.config.sha256,
      seen: fossil.seen,
    })
  }
  const run = { container, mode: 'switch', expected: generation } as const
  const started = (restart && (await runOn(connected, run, { options: restart, context }))) ?? null
  context.onEvent({ kind: 'step', step: 'done' })
  return {
    host: hostText(at.target.host),
    container,
    generation,
    previous: now.container?.current ?? 0,
    bundle: `${context.bundles}/${container}`,
    runs: started?.generation ?? now.container?.service.runs?.generation ?? null,
    started,
  }
}

function add(spent: Spent, { sent, received }: Applied['bytes']): void {
  spent.sent += sent
  spent.received += received
}

/** config.json, and the engine that its maker wished for. */
function runBy(head: Buffer, tail: Buffer): { readonly config: string; readonly engine: Engine | undefined } {
  const config = Buffer.concat([head, Buffer.from('rootfs'), tail]).toString()
  const wished = textAt(parseObject(config, 'config.json'), 'annotations', ENGINE_ANNOTATION)
  return { config, engine: ENGINES.find((known) => known === wished) }
}

async function openFossil(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r')
  } catch (cause) {
    throw new VarveError('E_SOURCE_UNREADABLE', `cannot read "${file}": ${messageOf(cause)}`, { cause })
  }
}

async function bytesOf(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position)
  return buffer.subarray(0, bytesRead)
}

async function* piece(file: FileHandle, start: number, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size;) {
    const chunk = await bytesOf(file, start + at, Math.min(1 << 18, size - at))
    if (chunk.length === 0) return
    at += chunk.length
    yield chunk
  }
}

function damaged(file: string): VarveError {
  return new VarveError('E_HASH', `cannot apply "${file}": a part of it has another SHA-256 than its head says`, {
    hint: 'copy it again, or make it again with varve pack',
  })
}

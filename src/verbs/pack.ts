// pack: the delta of a source as a file, against what a host or another source holds; changes nothing on a host.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { open, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { startPool } from '../delta/pool.ts'
import { fossilHead, type FossilDelta } from '../delta/fossil.ts'
import { VarveError, messageOf } from '../errors.ts'
import { loadFossilRuntime } from '../host/loader.ts'
import type { Survey } from '../host/survey.ts'
import { UNKNOWN } from '../model/engine.ts'
import { hostText, sourceText, type SourceRef, type Target } from '../model/names.ts'
import type { Plan } from '../model/plan.ts'
import { CACHE_LIMIT } from './cache.ts'
import { connect, manifestOf, spoolDirectoryOf, type Connected, type Context } from './context.ts'
import { deltaOf, keepSent } from './delta.ts'
import { coresHere, paceFor } from './pace.ts'
import { isCurrent, nowOf, plansFor, wantedOn, type Asked, type ShipOptions } from './prepare.ts'
import { readSource, type ReadSource } from './read-source.ts'
import { seenSize, timedLayers } from './stack.ts'

export type PackOptions = ShipOptions & {
  readonly output: string
  /** What the host holds: asked there, or taken to be what another source is; nothing when undefined. */
  readonly against: { readonly kind: 'host' } | { readonly kind: 'source'; readonly source: SourceRef } | undefined
}

export type Packed = {
  readonly file: string
  readonly bytes: number
  readonly container: string
  readonly against: string
  /** Ids of trees that the host must hold. */
  readonly needs: readonly string[]
  readonly layers: readonly { readonly id: string; readonly origin: string; readonly delta: number }[]
}

/** What any Debian has, for a host that was not asked. */
const USUAL = new Set<string>(['gzip', 'perl', 'overlay', 'attributes', 'flock'])

/** Throws E_USAGE where the file exists or the host has it all already, and the errors of push up to the sending. */
export async function pack(options: PackOptions, context: Context): Promise<Packed> {
  using manifest = manifestOf(context)
  await using source = await readSource(options.source, manifest, context)
  await using base = options.against?.kind === 'source' ? await readSource(options.against.source, manifest, context) : undefined // prettier-ignore
  await using host = options.against?.kind === 'host' ? await connect(options.target.host, context) : undefined
  await using pool = startPool(coresHere())
  const survey = host === undefined ? usualSurvey(timedLayers(base?.layers ?? [], options.mtime, manifest).map(({ id }) => id)) : await host.survey(options.target.container) // prettier-ignore
  const connected = host === undefined ? unconnected(options.target, survey) : { ...host, direct: false }
  const at: Asked = { options, context, manifest, source, connected, survey, pool, now: nowOf(survey, options.target), olds: oldsIn(base) } // prettier-ignore
  const wanted = await wantedOn(at)
  if (isCurrent(wanted, at))
    throw new VarveError('E_USAGE', `cannot pack a delta: ${againstText(options)} is up to date`)
  const shipments = await plansFor(wanted, at)
  const runtime = loadFossilRuntime()
  const [head = '', tail = ''] = wanted.bundle.text(MARK).split(MARK)
  const spool = mkdtempSync(join(spoolDirectoryOf(context), 'pack-'))
  try {
    await using deltas = await open(join(spool, 'deltas'), 'wx+', 0o600)
    const written: FossilDelta[] = []
    for (const shipment of shipments) {
      context.onEvent({ kind: 'step', step: 'send' })
      const delta = await deltaOf(shipment, at, { pace: paceFor(at) })
      const { size, sha256 } = await writeAll(deltas, delta.chunks)
      const { tree, base: baseId } = shipment.plan
      written.push({ tree, base: baseId, size, sha256, codec: delta.codec(), raw: delta.raw(), frames: delta.frames() })
    }
    const own = new Set(shipments.map(({ plan }) => plan.tree))
    const needs = needsOf(shipments.map(({ plan }) => plan), wanted.layers.map(({ id }) => id)).filter((id) => !own.has(id)) // prettier-ignore
    const beginning = Buffer.concat([
      fossilHead({
        container: options.target.container,
        against: againstText(options),
        needs,
        tools: toolsOf(written, options),
        stack: wanted.layers.map(({ id }) => id),
        rootfs: wanted.rootfs,
        config: { sha256: wanted.configSha256, head: Buffer.byteLength(head), tail: Buffer.byteLength(tail) },
        seen: seenSize(wanted.layers, manifest),
        runtime: { sha256: runtime.id, size: runtime.text.length },
        deltas: written,
      }),
      runtime.text,
      Buffer.from(head),
      Buffer.from(tail),
    ])
    const bytes = await writeFossil(options.output, beginning, deltas)
    await keepSent(shipments, at)
    manifest.contents.commit(CACHE_LIMIT)
    context.onEvent({ kind: 'step', step: 'done' })
    const sizes = new Map(written.map(({ tree, size }) => [tree, size]))
    const layers = wanted.layers.map(({ id, origin }) => ({ id, origin, delta: sizes.get(id) ?? 0 }))
    return { file: options.output, bytes, container: options.target.container, against: againstText(options), needs, layers } // prettier-ignore
  } finally {
    rmSync(spool, { recursive: true, force: true })
  }
}

/** Stands for the path of the root filesystem; no config.json has it. */
const MARK = '/varve-fossil-rootfs-4b1a'

function againstText({ against, target }: PackOptions): string {
  if (against === undefined) return 'nothing'
  return against.kind === 'host' ? `${hostText(target.host)}:${target.container}` : sourceText(against.source)
}

function usualSurvey(trees: readonly string[]): Survey {
  return {
    tools: {
      tar: 'gnu',
      missing: [],
      has: (tool) => USUAL.has(tool),
      filesystem: '-',
      freeKib: undefined,
      freeInodes: undefined,
      memoryKib: undefined,
      kernel: '-',
      machine: '-',
      facts: UNKNOWN,
    },
    epoch: undefined,
    trees,
    containers: [],
    stacks: trees.length > 1 ? [trees] : [],
    settings: undefined,
  }
}

/** Nobody is there to ask; what is known of the host is in the survey. */
function unconnected({ host }: Target, survey: Survey): Connected {
  const nobody = (): never => {
    throw new VarveError('E_BUG', 'cannot ask the host: this is offline')
  }
  const session = { ask: nobody, stream: nobody, upload: nobody, attach: nobody, roundTrips: () => 0, [Symbol.asyncDispose]: async () => {} } // prettier-ignore
  const traffic = (): { sent: number; received: number } => ({ sent: 0, received: 0 })
  return { host, session, traffic, direct: false, survey: async () => survey, [Symbol.asyncDispose]: async () => {} }
}

/** Old contents by SHA-256, of the source that the host is taken to hold. */
function oldsIn(base: ReadSource | undefined): Asked['olds'] {
  if (base === undefined) return undefined
  const files = new Map(base.layers.flatMap(({ tree }) => tree().entries).flatMap((entry) => (entry.kind === 'file' ? [[entry.sha256, entry] as const] : []))) // prettier-ignore
  return (sha256) => {
    const file = files.get(sha256)
    return file === undefined ? undefined : () => base.contents(file)
  }
}

function needsOf(plans: readonly Plan[], stack: readonly string[]): string[] {
  const made = new Set(plans.map(({ tree }) => tree))
  const uses = plans.flatMap(({ base, steps }) => [
    ...(base === undefined ? [] : [base]),
    ...steps.flatMap((step) => {
      if (step.kind === 'link' || step.kind === 'copy') return [step.from.tree]
      return step.kind === 'send' && step.reference !== undefined ? [step.reference.tree] : []
    }),
  ])
  return [...new Set([...uses, ...stack.filter((id) => !made.has(id))])].toSorted()
}

function toolsOf(deltas: readonly FossilDelta[], { against }: PackOptions): string[] {
  const codecs = deltas
    .flatMap(({ codec }) => [...codec.matchAll(/[a-z]+(?=:)/g)].map(([name]) => name))
    .filter((codec) => codec !== 'none')
  // of a host that was asked it is known that it can undo patches
  const perl = deltas.length > 0 && (against?.kind === 'source' || deltas.some(({ codec }) => codec.endsWith('+same')))
  return [...new Set(['tar', ...codecs, ...(perl ? ['perl'] : [])])]
}

async function writeAll(file: FileHandle, chunks: AsyncIterable<Uint8Array>): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of chunks) {
    hash.update(chunk)
    size += chunk.length
    await file.writeFile(chunk)
  }
  return { size, sha256: hash.digest('hex') }
} // prettier-ignore

/** A new file, whole and durable or not at all. */
async function writeFossil(output: string, beginning: Buffer, deltas: FileHandle): Promise<number> {
  await using file = await openOutput(output)
  try {
    await file.writeFile(beginning)
    let size = beginning.length
    for await (const chunk of deltas.createReadStream({ start: 0, autoClose: false })) {
      await file.writeFile(chunk as Buffer)
      size += (chunk as Buffer).length
    }
    await file.sync()
    return size
  } catch (cause) {
    await rm(output, { force: true })
    throw new VarveError('E_IO', `cannot write "${output}": ${messageOf(cause)}`, { cause })
  }
}

/** Throws E_USAGE where the file exists. */
export async function openOutput(output: string): Promise<FileHandle> {
  try {
    return await open(output, 'wx', 0o600)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      throw new VarveError('E_USAGE', `cannot write "${output}": it exists`, { hint: 'name another file with -o', cause })
    throw new VarveError('E_IO', `cannot write "${output}": ${messageOf(cause)}`, { cause })
  }
} // prettier-ignore

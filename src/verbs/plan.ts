// plan: what push would do and the exact bytes of its delta; changes nothing on the host.
import { open } from 'node:fs/promises'
import { VarveError, messageOf } from '../errors.ts'
import type { Step } from '../model/plan.ts'
import { connect, manifestOf, type Context } from './context.ts'
import { deltaOf, isCurrent, nowOf, planFor, wantedOn, type ShipOptions } from './prepare.ts'
import { readSource } from './read-source.ts'
import { Stopwatch, reportOf, type Report } from './report.ts'

export type Planned = {
  readonly report: Report
  /** True where a push would make a new generation. */
  readonly changes: boolean
  /** Path by path, in the order of the delta. */
  readonly items: readonly Item[]
}

export type Item = { readonly action: Step['kind'] | 'drop'; readonly path: string; readonly from?: string }

/** `output` is a file that gets the delta's bytes. */
export async function plan(
  options: ShipOptions & { readonly output: string | undefined },
  context: Context,
): Promise<Planned> {
  const watch = new Stopwatch()
  using manifest = manifestOf(context)
  await using source = await watch.time('scan', () => readSource(options.source, manifest, context))
  await using connected = await connect(options.target.host, context)
  const survey = await connected.survey(options.target.container)
  const wanted = wantedOn(survey, source, options, manifest)
  const now = nowOf(survey, options.target)
  const current = isCurrent(wanted, now, { survey, options })
  context.onEvent({ kind: 'step', step: 'plan' })
  const made = survey.trees.includes(wanted.id)
    ? undefined
    : await watch.time('plan', () => planFor(wanted, { connected, survey, now, manifest, options, reuse: true }))
  const chunks = made === undefined ? undefined : deltaOf(made, { source, wanted, survey, connected, context }).chunks
  const delta = chunks === undefined ? 0 : await watch.time('delta', () => drain(chunks, options.output))
  const items: Item[] = [
    ...(made?.drop ?? []).map((path) => ({ action: 'drop' as const, path })),
    ...(made?.steps ?? []).map((step) => ({
      action: step.kind,
      path: step.entry.path,
      ...('from' in step ? { from: step.from.path } : {}),
    })),
  ]
  context.onEvent({ kind: 'step', step: 'done' })
  const generation = current ? (now.generation?.number ?? 0) : (now.container?.next ?? 1)
  return {
    report: reportOf({
      options,
      source,
      wanted,
      connected,
      now,
      watch,
      plan: made,
      delta,
      generation,
      bundles: context.bundles,
    }),
    changes: !current,
    items,
  }
}

async function drain(chunks: AsyncIterable<Uint8Array>, output: string | undefined): Promise<number> {
  let bytes = 0
  if (output === undefined) {
    for await (const chunk of chunks) bytes += chunk.length
    return bytes
  }
  try {
    await using file = await open(output, 'wx', 0o600)
    for await (const chunk of chunks) {
      bytes += chunk.length
      await file.writeFile(chunk)
    }
    await file.sync()
    return bytes
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      throw new VarveError('E_USAGE', `cannot write "${output}": it exists`, { cause })
    if (cause instanceof VarveError) throw cause
    throw new VarveError('E_IO', `cannot write "${output}": ${messageOf(cause)}`, { cause })
  }
}

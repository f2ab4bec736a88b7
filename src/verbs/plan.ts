// plan: what push would do and the exact bytes of its delta; changes nothing on the host.
import type { FileHandle } from 'node:fs/promises'
import { startPool } from '../delta/pool.ts'
import { withoutBigints } from '../bundle/document.ts'
import { printable } from '../model/bytes.ts'
import type { Step } from '../model/plan.ts'
import type { Bundle } from './config.ts'
import { connectDuring, manifestOf, type Context } from './context.ts'
import { explain, type Cost } from './explain.ts'
import { deltaOf } from './delta.ts'
import { coresHere, paceFor } from './pace.ts'
import { openOutput } from './pack.ts'
import { changesOf, isCurrent, nowOf, plansFor, wantedOn, type ShipOptions } from './prepare.ts'
import { disposing, readSource } from './read-source.ts'
import { Stopwatch, reportOf, type Report, type Shipped } from './report.ts'

export type Planned = {
  readonly report: Report
  /** True where a push would make a new generation. */
  readonly changes: boolean
  /** Path by path, in the order of the delta. */
  readonly items: readonly Item[]
  readonly cost: Cost
  readonly config: ConfigPlan
}

/** How config.json comes to be. */
export type ConfigPlan = Pick<Bundle, 'from' | 'engine' | 'kept' | 'volumes' | 'notes'> & {
  /** From what the source says; null where a side has nothing, and numbers beyond 2^53 are texts. */
  readonly changes: readonly {
    readonly rewrite: string
    readonly why: string
    readonly path: string
    readonly was: unknown
    readonly now: unknown
  }[]
}

/** Paths are as `printable` shows them; the root's is empty. */
export type Item = { readonly action: Step['kind'] | 'drop'; readonly path: string; readonly from?: string }

/** `output` is a file that gets the delta's bytes. */
export async function plan(
  options: ShipOptions & { readonly output: string | undefined },
  context: Context,
): Promise<Planned> {
  const watch = new Stopwatch()
  using manifest = manifestOf(context)
  const reading = watch.time('scan', () => readSource(options.source, manifest, context))
  await using pool = startPool(coresHere())
  await using _ = disposing(reading)
  await using connected = await connectDuring(reading, options.target, context)
  const source = await reading
  const survey = await connected.survey(options.target.container)
  const at = { options, context, manifest, source, connected, survey, pool, now: nowOf(survey, options.target) }
  const { output } = options
  context.onEvent({ kind: 'step', step: 'plan' })
  const wanted = await watch.time('plan', () => wantedOn(at))
  const current = isCurrent(wanted, at)
  const shipments = await watch.time('plan', () => plansFor(wanted, at))
  const shipped: Shipped[] = []
  await using file = output === undefined ? undefined : await openOutput(output)
  for (const shipment of shipments) {
    const delta = await watch.time('delta', async () =>
      drain((await deltaOf(shipment, at, { pace: paceFor(at) })).chunks, file),
    )
    shipped.push({ plan: shipment.plan, delta })
  }
  await file?.sync()
  const cost = await watch.time('plan', () => explain(shipments, wanted, at))
  const items = shipments.flatMap(({ plan }): Item[] => [
    ...plan.drop.map((path) => ({ action: 'drop' as const, path: printable(path) })),
    ...plan.steps.map((step) => ({
      action: step.kind,
      path: printable(step.entry.path),
      ...('from' in step ? { from: printable(step.from.path) } : {}),
    })),
  ])
  context.onEvent({ kind: 'step', step: 'done' })
  return {
    report: reportOf(at, {
      wanted,
      watch,
      shipped,
      changes: current ? undefined : changesOf(wanted, at),
      generation: current ? (at.now.generation?.number ?? 0) : (at.now.container?.next ?? 1),
    }),
    changes: !current,
    items,
    cost,
    config: configPlan(wanted.bundle),
  }
}

function configPlan({ from, engine, kept, volumes, notes, changes }: Bundle): ConfigPlan {
  const shown = changes.map(({ rewrite, why, path, was, now }) => ({
    rewrite,
    why,
    path,
    was: withoutBigints(was),
    now: withoutBigints(now),
  }))
  return { from, engine, kept, volumes, notes, changes: shown }
}

async function drain(chunks: AsyncIterable<Uint8Array>, file: FileHandle | undefined): Promise<number> {
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    await file?.writeFile(chunk)
  }
  return bytes
}

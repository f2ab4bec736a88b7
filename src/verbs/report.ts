// What a push or a plan cost and did, as the data that scripts rely on.
import { hostText } from '../model/names.ts'
import type { Changes, Plan } from '../model/plan.ts'
import type { Asked, Wanted } from './prepare.ts'
import { sizeOf } from './read-source.ts'
import type { Started } from './run.ts'
import { seenSize } from './stack.ts'

type Part = 'scan' | 'plan' | 'delta' | 'transfer' | 'apply' | 'run'

/** Bytes are exact; `sent` and `received` count the whole session on the wire. Seconds are wall time. */
export type Report = {
  readonly host: string
  readonly container: string
  readonly generation: number
  readonly previous: number
  /** Where the generation stands on the host: what an engine is given. */
  readonly bundle: string
  /** The generation that runs, as far as varve started it. */
  readonly runs: number | null
  /** What a push with --restart started. */
  readonly started: Started | null
  readonly layers: readonly {
    readonly id: string
    readonly origin: string
    /** The command that made it, where an image tells. */
    readonly history?: string
    readonly state: 'present' | 'sent'
    readonly entries: number
    /** Bytes that were sent for it, compressed. */
    readonly delta: number
  }[]
  readonly entries: Changes
  readonly bytes: {
    readonly rootfs: number
    readonly changed: number
    readonly delta: number
    readonly sent: number
    readonly received: number
  }
  readonly roundTrips: number
  readonly seconds: Readonly<Record<Part | 'total', number>>
}

/** A layer that was sent, or would be. */
export type Shipped = { readonly plan: Plan; readonly delta: number }

export class Stopwatch {
  private readonly started = performance.now()
  private readonly parts: Record<Part, number> = { scan: 0, plan: 0, delta: 0, transfer: 0, apply: 0, run: 0 }
  private within = 0

  /** Of what runs within another, that other is not told. */
  async time<Value>(part: Part, work: () => Promise<Value>): Promise<Value> {
    const before = performance.now()
    const outer = this.within
    this.within = 0
    try {
      return await work()
    } finally {
      const took = performance.now() - before
      this.parts[part] += took - this.within
      this.within = outer + took
    }
  }

  seconds(): Report['seconds'] {
    const round = (ms: number): number => Math.round(ms) / 1000
    const { scan, plan, delta, transfer, apply, run } = this.parts
    return {
      scan: round(scan),
      plan: round(plan),
      delta: round(delta),
      transfer: round(transfer),
      apply: round(apply),
      run: round(run),
      total: round(performance.now() - this.started),
    }
  }
}

export function reportOf(
  at: Asked,
  done: {
    readonly wanted: Wanted
    readonly watch: Stopwatch
    readonly shipped: readonly Shipped[]
    /** Undefined where the container stands on just this already. */
    readonly changes: Changes | undefined
    readonly generation: number
    readonly started?: Started | undefined
  },
): Report {
  const { options, manifest } = at
  const { layers } = done.wanted
  const seen = seenSize(layers, manifest)
  const none = { added: 0, changed: 0, metadata: 0, removed: 0, special: 0 }
  const sent = new Map(done.shipped.map((shipped) => [shipped.plan.tree, shipped]))
  const total = (count: (shipped: Shipped) => number): number =>
    done.shipped.reduce((sum, shipped) => sum + count(shipped), 0)
  return {
    host: hostText(options.target.host),
    container: options.target.container,
    generation: done.generation,
    previous: at.now.container?.current ?? 0,
    bundle: `${at.context.bundles}/${options.target.container}`,
    runs: done.started?.generation ?? at.now.container?.service.runs?.generation ?? null,
    started: done.started ?? null,
    layers: layers.map(({ id, origin, history, tree }) => ({
      id,
      origin,
      ...(history === undefined ? {} : { history }),
      state: sent.has(id) ? 'sent' : 'present',
      entries: sizeOf(id, tree, manifest).entries,
      delta: sent.get(id)?.delta ?? 0,
    })),
    entries: done.changes ?? { total: seen.entries, unchanged: seen.entries, ...none },
    bytes: {
      rootfs: seen.bytes,
      changed: total(({ plan }) => plan.bytes.changed),
      delta: total(({ delta }) => delta),
      ...at.connected.traffic(),
    },
    roundTrips: at.connected.session.roundTrips(),
    seconds: done.watch.seconds(),
  }
}

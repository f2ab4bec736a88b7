// What a push or a plan cost and did, as the data that scripts rely on.
import { hostText } from '../model/names.ts'
import type { Changes, Plan } from '../model/plan.ts'
import type { Connected } from './context.ts'
import type { Now, ShipOptions, Wanted } from './prepare.ts'
import type { ReadSource } from './read-source.ts'

type Part = 'scan' | 'plan' | 'delta' | 'transfer' | 'apply'

/** Bytes are exact; `sent` and `received` count the whole session on the wire. Seconds are wall time. */
export type Report = {
  readonly host: string
  readonly container: string
  readonly generation: number
  readonly previous: number
  /** Where the generation stands on the host: what an engine is given. */
  readonly bundle: string
  readonly layers: readonly {
    readonly id: string
    readonly origin: string
    readonly state: 'present' | 'sent'
    readonly entries: number
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

export class Stopwatch {
  private readonly started = performance.now()
  private readonly parts: Record<Part, number> = { scan: 0, plan: 0, delta: 0, transfer: 0, apply: 0 }

  async time<Value>(part: Part, work: () => Promise<Value>): Promise<Value> {
    const before = performance.now()
    try {
      return await work()
    } finally {
      this.parts[part] += performance.now() - before
    }
  }

  seconds(): Report['seconds'] {
    const round = (ms: number): number => Math.round(ms) / 1000
    const { scan, plan, delta, transfer, apply } = this.parts
    return {
      scan: round(scan),
      plan: round(plan),
      delta: round(delta),
      transfer: round(transfer),
      apply: round(apply),
      total: round(performance.now() - this.started),
    }
  }
}

export function reportOf(from: {
  options: ShipOptions
  source: ReadSource
  wanted: Wanted
  connected: Connected
  now: Now
  watch: Stopwatch
  plan: Plan | undefined
  delta: number
  generation: number
  bundles: string
}): Report {
  const { options, source, wanted, plan } = from
  const unchanged: Changes = {
    total: source.entries,
    unchanged: source.entries,
    added: 0,
    changed: 0,
    metadata: 0,
    removed: 0,
    special: 0,
  }
  return {
    host: hostText(options.target.host),
    container: options.target.container,
    generation: from.generation,
    previous: from.now.container?.current ?? 0,
    bundle: `${from.bundles}/${options.target.container}`,
    layers: [
      {
        id: wanted.id,
        origin: `${options.source.kind}:${options.source.location}`,
        state: plan === undefined ? 'present' : 'sent',
        entries: source.entries,
      },
    ],
    entries: plan?.entries ?? unchanged,
    bytes: { rootfs: source.bytes, changed: plan?.bytes.changed ?? 0, delta: from.delta, ...from.connected.traffic() },
    roundTrips: from.connected.session.roundTrips(),
    seconds: from.watch.seconds(),
  }
}

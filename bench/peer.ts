// What a peer of the bench is: how it prepares a host that has the old tree, and how it then brings the new one there.
import type { Host, HostOptions } from '../test/fixture/host.ts'
import type { Pair } from './pair.ts'
import type { Link, Wire } from './link.ts'

export interface Peer {
  readonly name: string
  readonly title: string
  /** What a reader must know to compare it. */
  readonly note: string
  /** Debian packages that it needs here. */
  readonly packages: readonly string[]
  readonly host?: HostOptions
  /** Its effort follows the link, so what it does on one says little of another. */
  readonly adapts?: true
  /** Deploys the old tree, unmeasured, and readies all that can be ready before the new tree is known. */
  prepare(place: Place): Promise<Redeploy>
}

export interface Place {
  readonly pair: Pair
  readonly host: Host
  /** A directory of all measurements of this pair: what more than one needs is made there once. */
  readonly shared: string
  /** A directory of this measurement alone. */
  readonly work: string
  /** What is to be done when this measurement has ended, however it did. */
  readonly atEnd: Disposable[]
}

export interface Redeploy {
  /** Makes host and sender again what they were after the first deploy, which went through this link; unmeasured. */
  reset(link: Link): Promise<void>
  /** Measured: from the new tree here to the new tree there. */
  run(wire: Wire): Promise<void>
}

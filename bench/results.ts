// What a run of the bench found, as it is written to bench.json.
import { execFileSync } from 'node:child_process'
import { cpus, release } from 'node:os'
import { links, type Link } from './link.ts'
import { pairNames, type Pair } from './pair.ts'
import type { Peer } from './peer.ts'
import { peers } from './peers.ts'
import type { Measured } from './redeploy.ts'

export interface Results {
  readonly schemaVersion: 1
  readonly date: string
  readonly machine: {
    readonly processor: string
    readonly cores: number
    readonly kernel: string
    readonly node: string
  }
  /** Debian packages that were measured, and their versions. */
  readonly versions: Readonly<Record<string, string>>
  readonly pairs: readonly Pair[]
  readonly peers: readonly { readonly name: string; readonly title: string; readonly note: string }[]
  readonly links: readonly { readonly name: string; readonly title: string }[]
  readonly measured: readonly Measured[]
  /** What could not be measured, and why. */
  readonly failed: readonly Failed[]
}

export interface Failed {
  readonly pair: string
  readonly peer: string
  readonly error: string
}

export function resultsOf(
  plan: { readonly pairs: readonly Pair[]; readonly peers: readonly Peer[]; readonly links: readonly Link[] },
  measured: readonly Measured[],
  failed: readonly Failed[],
): Results {
  const packages = [...new Set(plan.peers.flatMap((peer) => peer.packages))].toSorted()
  return {
    schemaVersion: 1,
    date: new Date().toISOString(),
    machine: { processor: cpus()[0]?.model ?? '', cores: cpus().length, kernel: release(), node: process.version },
    versions: Object.fromEntries(packages.map((name) => [name, versionOf(name)])),
    pairs: plan.pairs,
    peers: plan.peers.map(({ name, title, note }) => ({ name, title, note })),
    links: links.filter((link) => plan.links.includes(link)).map(({ name, title }) => ({ name, title })),
    measured,
    failed,
  }
}

/** Those of an earlier run, where this one has not measured again; lists in the order of the bench. */
export function joined(now: Results, before: Results): Results {
  const same = (a: { pair: string; peer: string }, b: { pair: string; peer: string }): boolean =>
    a.pair === b.pair && a.peer === b.peer
  const both = <T extends { readonly name: string }>(
    ours: readonly T[],
    theirs: readonly T[],
    order: readonly string[],
  ): T[] =>
    order.flatMap((name) => ours.find((one) => one.name === name) ?? theirs.find((one) => one.name === name) ?? [])
  return {
    ...now,
    versions: { ...before.versions, ...now.versions },
    pairs: both(now.pairs, before.pairs, pairNames),
    peers: both(now.peers, before.peers, peers.map(({ name }) => name)), // prettier-ignore
    links: both(now.links, before.links, links.map(({ name }) => name)), // prettier-ignore
    measured: [
      ...now.measured,
      ...before.measured.filter((old) => !now.measured.some((one) => same(one, old) && one.link === old.link)),
    ],
    failed: [
      ...now.failed,
      ...before.failed.filter((old) => ![...now.measured, ...now.failed].some((one) => same(one, old))),
    ],
  }
}

function versionOf(name: string): string {
  return execFileSync('dpkg-query', ['-W', '-f', '${Version}', name], { encoding: 'utf8' })
}

export function find(results: Results, pair: string, peer: string, link: string): Measured | undefined {
  return results.measured.find((one) => one.pair === pair && one.peer === peer && one.link === link)
}

export function bytesOf({ sent, received }: Measured): number {
  return sent + received
}

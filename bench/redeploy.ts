// Measures one peer on one pair through links, one after the other: bytes of whole sessions, both ways, and wall time.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHost } from '../test/fixture/host.ts'
import { wireTo, type Link } from './link.ts'
import type { Pair } from './pair.ts'
import type { Peer, Redeploy } from './peer.ts'

export interface Measured {
  readonly pair: string
  readonly peer: string
  readonly link: string
  /** From the sender to the host, and back. */
  readonly sent: number
  readonly received: number
  readonly seconds: number
  /** Not run: no less than this, since the first link took so long, or since so many bytes take so long on the line. */
  readonly reckoned: boolean
}

export interface How {
  readonly links: readonly Link[]
  /** What cannot end within this time is reckoned, not run. */
  readonly patienceSeconds: number
  /** A directory for all peers of this pair. */
  readonly shared: string
  readonly tell?: (link: Link) => void
}

export async function* measure(pair: Pair, peer: Peer, how: How): AsyncGenerator<Measured> {
  const work = mkdtempSync(join(tmpdir(), 'varve-bench-'))
  await using host = await startHost({ become: 'root', ...peer.host })
  const atEnd: Disposable[] = []
  let redeploy: Redeploy | undefined
  try {
    let first: Measured | undefined
    for (const link of how.links) {
      how.tell?.(link)
      redeploy ??= await peer.prepare({ pair, host, shared: how.shared, work, atEnd })
      const least = first === undefined ? 0 : leastSeconds(peer, first, link)
      if (first !== undefined && least > how.patienceSeconds * (peer.adapts === true ? 10 : 1)) {
        yield { ...first, link: link.name, seconds: least, reckoned: true }
        continue
      }
      await redeploy.reset(link)
      await using wire = wireTo(host, link)
      const before = performance.now()
      await redeploy.run(wire)
      const seconds = (performance.now() - before) / 1000
      const measured = { pair: pair.name, peer: peer.name, link: link.name, ...wire.bytes, seconds, reckoned: false }
      first ??= measured
      yield measured
    }
  } finally {
    for (const one of atEnd) one[Symbol.dispose]()
    rmSync(work, { recursive: true, force: true })
  }
}

/** No link is faster than the first; a peer that adapts may need other seconds for it, and a little fewer bytes. */
function leastSeconds(peer: Peer, first: Measured, link: Link): number {
  const line = (first.sent + first.received) / link.bytesPerSecond
  return peer.adapts === true ? line : Math.max(first.seconds, line)
}

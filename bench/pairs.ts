// Measures peers on pairs through links, one after the other: bytes of whole sessions, both ways, and wall time.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHost } from '../test/fixture/host.ts'
import { wireTo, type Link } from './link.ts'
import type { Pair } from './pair.ts'
import type { Peer } from './peer.ts'

export interface Measured {
  readonly pair: string
  readonly peer: string
  readonly link: string
  /** From the sender to the host, and back. */
  readonly sent: number
  readonly received: number
  readonly seconds: number
  /** Not run: no less than this, since it took so long at loopback, or since so many bytes take so long on the line. */
  readonly reckoned: boolean
}

/** Links in the order given, loopback first; a run that cannot end within `patienceSeconds` is reckoned. */
export async function* measure(
  pair: Pair,
  peer: Peer,
  { links, patienceSeconds, shared }: { links: readonly Link[]; patienceSeconds: number; shared: string },
): AsyncGenerator<Measured> {
  const work = mkdtempSync(join(tmpdir(), 'varve-bench-'))
  await using host = await startHost({ become: 'root', ...peer.host })
  try {
    const redeploy = await peer.prepare({ pair, host, shared, work })
    let fastest: Measured | undefined
    for (const link of links) {
      if (fastest !== undefined) {
        const least = Math.max(fastest.seconds, (fastest.sent + fastest.received) / link.bytesPerSecond)
        if (least > patienceSeconds) {
          yield { ...fastest, link: link.name, seconds: least, reckoned: true }
          continue
        }
      }
      await redeploy.reset()
      await using wire = wireTo(host, link)
      const before = performance.now()
      await redeploy.run(wire)
      const seconds = (performance.now() - before) / 1000
      const measured = { pair: pair.name, peer: peer.name, link: link.name, ...wire.bytes, seconds, reckoned: false }
      fastest ??= measured
      yield measured
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

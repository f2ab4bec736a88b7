// The bench's short subset: what redeploys cost over a real SSH server, in bytes, beside rsync with its best options.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { links } from '../../bench/link.ts'
import { pairsNamed, type Pair } from '../../bench/pair.ts'
import type { Peer } from '../../bench/peer.ts'
import { rsync, rsyncChecksum } from '../../bench/peers/rsync.ts'
import { varve, varveBareHost, varveEmptyCache } from '../../bench/peers/varve.ts'
import { measure } from '../../bench/redeploy.ts'
import { bytesOf } from '../../bench/results.ts'

/** `most` bytes of varve's session; the names of those that cost no more than rsync besides. */
const cases: readonly [name: string, most: number, besides: readonly Peer[]][] = [
  ['nothing', 8000, [varveBareHost, varveEmptyCache]],
  ['one-file', 10_000, [varveBareHost]],
  ['mtimes', 12_000, [varveBareHost]],
  ['program', 60_000, []],
]

test.each(cases)(
  'measure() finds that varve sends fewer bytes than rsync where the change is: %s',
  { timeout: 300_000 },
  async (name, most, besides) => {
    const [pair] = pairsNamed([name])
    if (pair === undefined) throw new Error(`no pair ${name}`)
    const shared = mkdtempSync(join(tmpdir(), 'varve-bench-'))
    onTestFinished(() => rmSync(shared, { recursive: true, force: true }))
    const ours = await bytes(pair, varve, shared)
    const theirs = Math.min(await bytes(pair, rsync, shared), await bytes(pair, rsyncChecksum, shared))
    expect(ours).toBeLessThanOrEqual(most)
    expect(ours).toBeLessThan(theirs)
    for (const peer of besides) expect(await bytes(pair, peer, shared), peer.name).toBeLessThanOrEqual(theirs)
  },
)

async function bytes(pair: Pair, peer: Peer, shared: string): Promise<number> {
  for await (const one of measure(pair, peer, { links: links.slice(0, 1), patienceSeconds: 0, shared }))
    return bytesOf(one)
  return Number.NaN
}

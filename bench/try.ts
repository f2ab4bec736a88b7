import { mkdtempSync, rmSync } from 'node:fs'
import { pairsNamed, pairNames } from './pair.ts'
import { links } from './link.ts'
import { measure } from './pairs.ts'
import { rsync, rsyncChecksum } from './peers/rsync.ts'
import { varve, varveBareHost, varveEmptyCache } from './peers/varve.ts'
const names = process.argv[2]?.split(',') ?? pairNames
for (const pair of pairsNamed(names)) { const shared = mkdtempSync('/var/tmp/varve-bench-'); for (const peer of [varve, rsync, rsyncChecksum, varveBareHost, varveEmptyCache]) {
  try { for await (const m of measure(pair, peer, { links: links.slice(0, 1), patienceSeconds: 30, shared }))
  console.log(m.pair.padEnd(10), m.peer.padEnd(18), (m.sent+m.received).toLocaleString('en').padStart(12), m.seconds.toFixed(2).padStart(8)) }
  catch (e) { console.log(pair.name, peer.name, String(e).slice(0, 600)) }
}
  rmSync(shared, { recursive: true }) }

// The bench: what redeploys cost by varve and its peers; with other words what images and large local trees cost.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { layers } from './layers.ts'
import { links, type Link } from './link.ts'
import { local } from './local.ts'
import { pageOf } from './page.ts'
import { pairNames, pairsNamed } from './pair.ts'
import type { Peer } from './peer.ts'
import { peers } from './peers.ts'
import { progressOn } from './progress.ts'
import { measure, type Measured } from './redeploy.ts'
import { joined, resultsOf, type Failed, type Results } from './results.ts'
import { tableOf } from './table.ts'

const usage = `usage: npm run bench -- [pairs] [layers] [local] [--only PAIR,PEER...] [--links LINK...] [--patience SECONDS] [--out DIR] [--keep] [--build]
pairs:  ${pairNames.join(' ')}
peers:  ${peers.map(({ name }) => name).join(' ')}
links:  ${links.map(({ name }) => name).join(' ')}
`

try {
  await main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      links: { type: 'string', multiple: true, default: [] },
      patience: { type: 'string', default: '20' },
      out: { type: 'string', default: 'node_modules/.bench-results' },
      keep: { type: 'boolean', default: false },
      build: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return void process.stdout.write(usage)
  const only = words(values.only)
  const asked = words(values.links)
  refuseUnknown(positionals, ['pairs', 'layers', 'local'])
  refuseUnknown(only, [...pairNames, ...peers.map(({ name }) => name)])
  refuseUnknown(asked, links.map(({ name }) => name)) // prettier-ignore
  // before this program is run again where no network is
  if (values.build) return void pairsNamed(among(pairNames, only, String))
  if (positionals.length === 0 || positionals.includes('pairs')) {
    const before = values.keep ? read(values.out) : undefined
    const failures = await redeploys(
      {
        pairNames: among(pairNames, only, String),
        peers: among(peers, only, ({ name }) => name),
        links: among(links, asked, ({ name }) => name),
        patienceSeconds: Number(values.patience),
      },
      (now) => write(before === undefined ? now : joined(now, before), values.out),
    )
    process.stdout.write(readFileSync(join(values.out, 'bench.txt')))
    process.stdout.write(`\n${join(values.out, 'bench.html')}\n${join(values.out, 'bench.json')}\n`)
    if (failures > 0) process.exitCode = 1
  }
  if (positionals.includes('layers')) await layers()
  if (positionals.includes('local')) await local()
}

type Plan = {
  readonly pairNames: readonly string[]
  readonly peers: readonly Peer[]
  readonly links: readonly Link[]
  readonly patienceSeconds: number
}

/** How many measurements failed; `found` is told what there is after each pair. */
async function redeploys(plan: Plan, found: (results: Results) => void): Promise<number> {
  const { peers, links, patienceSeconds } = plan
  const progress = progressOn(process.stderr)
  const pairs = pairsNamed(plan.pairNames)
  const measured: Measured[] = []
  const failed: Failed[] = []
  let done = 0
  for (const [number, pair] of pairs.entries()) {
    const shared = mkdtempSync(join(tmpdir(), 'varve-bench-'))
    for (const peer of peers) {
      const tell = (link: Link): void =>
        progress.at(done + links.indexOf(link), pairs.length * peers.length * links.length, `${pair.name}, ${peer.title}, ${link.title}`) // prettier-ignore
      try {
        for await (const one of measure(pair, peer, { links, patienceSeconds, shared, tell })) measured.push(one)
      } catch (error) {
        failed.push({ pair: pair.name, peer: peer.name, error: (error as Error).message })
        process.stderr.write(`\n${pair.name}, ${peer.title}: ${(error as Error).message}\n`)
      }
      done += links.length
    }
    rmSync(shared, { recursive: true, force: true })
    found(resultsOf({ pairs: pairs.slice(0, number + 1), peers, links }, measured, failed))
  }
  progress.end()
  return failed.length
}

function write(results: Results, directory: string): void {
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'bench.json'), `${JSON.stringify(results, undefined, 1)}\n`)
  writeFileSync(join(directory, 'bench.txt'), tableOf(results))
  writeFileSync(join(directory, 'bench.html'), pageOf(results))
}

/** What an earlier run wrote there, if one did. */
function read(directory: string): Results | undefined {
  const file = join(directory, 'bench.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Results) : undefined
}

function words(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(',')).filter(Boolean)
}

function refuseUnknown(given: readonly string[], known: readonly string[]): void {
  for (const word of given) if (!known.includes(word)) throw new Error(`there is no "${word}" here\n${usage}`)
}

/** Those that are named; all where none of this kind is. */
function among<T>(all: readonly T[], named: readonly string[], nameOf: (one: T) => string): readonly T[] {
  const some = all.filter((one) => named.includes(nameOf(one)))
  return some.length === 0 ? all : some
}

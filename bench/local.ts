// Time and memory for a tree of 100,000 files on this machine: varve beside tar, sha256sum and rsync.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { median, row, timed } from './measure.ts'

const FILES = 100_000

export async function local(): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'varve-bench-'))
  const varve = `node ${join(import.meta.dirname, '../bin/varve.js')}`
  const options = `--store ${work}/store --bundle-dir ${work}/bundles --state-dir ${work}/state`
  const push = `${varve} push rootfs:${work}/tree local:bench ${options} --json`
  const forget = `${varve} rm local:bench ${options} -q; rm -rf ${work}/store ${work}/state ${work}/bundles`
  try {
    makeTree(join(work, 'tree'))
    process.stdout.write(
      `\nlocal, ${FILES} files, ${(Number(timed(`du -sb ${work}/tree | cut -f1`).stdout) / 1e6).toFixed(0)} MB; seconds\n`,
    )
    const rounds = [1, 2, 3].map(() => firstPush(work, push, forget))
    const [tar, hash, first] = (['tar', 'hash', 'push'] as const).map((part) => median(rounds.map((r) => r[part])))
    row('tar c | tar x, synced (median of 3)', (tar ?? 0).toFixed(2))
    row('sha256sum of one side', (hash ?? 0).toFixed(2))
    row('1.3 x tar, and hashing both sides', (1.3 * (tar ?? 0) + 2 * (hash ?? 0)).toFixed(2))
    row('varve first push', (first ?? 0).toFixed(2), rounds.map((r) => JSON.stringify(r.seconds)).join('  '))
    const rsync = `rsync -aHAX --numeric-ids --delete ${work}/tree/ ${work}/copy/`
    timed(rsync)
    timed(push)
    const [ours, theirs, scans]: number[][] = [[], [], []]
    for (let i = 0; i < 5; i++) {
      const run = timed(push)
      ours?.push(run.seconds)
      scans?.push((JSON.parse(run.stdout) as { data: { seconds: { scan: number } } }).data.seconds.scan)
      theirs?.push(timed(rsync).seconds)
    }
    row('varve push, unchanged (median of 5)', median(ours ?? []).toFixed(2), `scan ${median(scans ?? [])}`)
    row('rsync, unchanged (median of 5)', median(theirs ?? []).toFixed(2))
    row('varve first push, peak memory of the client', `${Number(readFileSync(join(work, 'rss'), 'utf8')) >> 10} MiB`)
  } finally {
    timed(forget)
    rmSync(work, { recursive: true, force: true })
  }
}

type Round = { tar: number; hash: number; push: number; seconds: Record<string, number> }

/** One after the other, since what a disk does changes from minute to minute. */
function firstPush(work: string, push: string, forget: string): Round {
  timed(`${forget} 2>/dev/null; rm -rf ${work}/copy; sync; sleep 1.5`)
  const tar = timed(`mkdir ${work}/copy; tar -C ${work}/tree -c . | tar -C ${work}/copy -x; sync -f ${work}`).seconds
  const hash = timed(`find ${work}/tree -type f -print0 | xargs -0 sha256sum >/dev/null`).seconds
  const run = timed(push, { NODE_OPTIONS: `--import ${peakMemoryTo(join(work, 'rss'))}` })
  const { seconds } = (JSON.parse(run.stdout) as { data: { seconds: Record<string, number> } }).data
  return { tar, hash, push: run.seconds, seconds }
}

/** A module that notes, when Node ends, the peak resident memory that the kernel has seen, in KiB. */
function peakMemoryTo(file: string): string {
  const code = `import { writeFileSync } from 'node:fs'; process.on('exit', () => writeFileSync('${file}', String(process.resourceUsage().maxRSS)))`
  return `data:text/javascript,${encodeURIComponent(code)}`
}

/** 100 x 100 directories of ten files, about 6 kB each on average, the same at every run. */
function makeTree(root: string): void {
  let seed = 1
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647)
  for (let i = 0; i < FILES; i++) {
    const directory = join(root, `d${i % 100}`, `e${Math.floor(i / 100) % 100}`)
    if (i < 10_000) mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, `f${i}`), Buffer.alloc(random() % 12_000, `${random()} ${i} `))
  }
}

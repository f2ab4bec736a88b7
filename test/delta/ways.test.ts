// chooseWays: what is certainly in a frame is given before anything is compared, and the same files give the same ways however jobs end.
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { steady } from '../../src/delta/effort.ts'
import type { Pool } from '../../src/delta/pool.ts'
import { STREAMS } from '../../src/delta/streams.ts'
import { chooseWays, type HostCan, type Segment, type Ways } from '../../src/delta/ways.ts'
import { answer, type Answer } from '../../src/delta/work.ts'
import { byteString } from '../../src/model/bytes.ts'
import type { FileEntry } from '../../src/model/entry.ts'
import type { Plan } from '../../src/model/plan.ts'
import { TREE, noise } from './patches.ts'

const MIB = 1 << 20
const CAN: HostCan = { prefix: 'zstd', patch: true, copies: true, memory: 128 * MIB }

/** Words from a short list, so that they compress, in a shuffled order. */
function text(size: number, seed: number): Buffer {
  const words = Array.from({ length: 500 }, (_, i) => createHash('md5').update(`${i}`).digest('hex').slice(0, (i % 9) + 2)) // prettier-ignore
  const order = noise(size, seed)
  let said = ''
  for (let i = 0; said.length < size; i += 2) said += `${words[order.readUInt16LE(i) % 500]} `
  return Buffer.from(said.slice(0, size))
}

/** What begins as a program does; the new one has some words changed. */
function program(size: number, seed: number): { old: Buffer; now: Buffer } {
  const old = Buffer.concat([Buffer.from('\x7fELF'), noise(size - 4, seed)])
  const now = Buffer.from(old)
  for (let at = 100; at < size; at += 5000) now.writeUInt32LE((now.readUInt32LE(at) + 8) % 2 ** 32, at)
  return { old, now }
}

const pairs = new Map<string, { old: Buffer; now: Buffer }>()
for (let i = 0; i < 40; i++) {
  const old = text(60_000, i)
  pairs.set(`text/${i}`, { old, now: Buffer.concat([old, Buffer.from('more')]) })
  if (i % 10 === 0) pairs.set(`text/${i}.so`, program(50_000, i))
}
pairs.set('a-program', program(3 * MIB, 50))
// of each 40 kB a quarter is old
const before = text(2 * MIB, 52)
const after = text(2 * MIB, 53)
for (let at = 0; at < after.length; at += 40_000) before.copy(after, at, at, at + 10_000)
pairs.set('another', { old: before, now: after })

const steps: Plan['steps'] = [...pairs].map(([path, { old, now }]) => {
  const entry: FileEntry = {
    kind: 'file',
    path: byteString(path),
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeNs: 0n,
    xattrs: [],
    size: now.length,
    sha256: `now ${path}`,
    first: byteString(path),
  }
  return { kind: 'send', entry, reference: { tree: TREE, path: byteString(path), sha256: path, size: old.length } }
})
const plan: Plan = { tree: TREE, base: TREE, drop: [], steps, entries: steps.length, bytes: { rootfs: 0, changed: 0 } }

/** The jobs in this thread, each after `before`. */
function poolOf(cores: number, before: (kind: string) => Promise<unknown>): Pool {
  return {
    cores,
    run: async (job, give = () => {}) => {
      await before(job.kind)
      return answer(job, give) as Answer<typeof job.kind>
    },
    async [Symbol.asyncDispose]() {},
  }
}

function waysBy(pool: Pool, can: HostCan = CAN): Ways {
  const bytesOf = (path: string): { old: Buffer; now: Buffer } => {
    const pair = pairs.get(path)
    if (pair === undefined) throw new Error(`there is no ${path}`)
    return pair
  }
  const contents = (file: FileEntry): Uint8Array => Uint8Array.from(bytesOf(file.path).now)
  const old = (sha256: string): Uint8Array => Uint8Array.from(bytesOf(sha256).old)
  return chooseWays(plan, { contents, old, signed: new Map(), can, pace: steady(1e6, 2), pool })
}

async function told({ patched, segments }: Ways): Promise<object> {
  const files: string[][] = []
  for await (const segment of segments) files.push(segment.files.map(({ path }) => path))
  const hashes = [...patched].map(([path, { patch }]) => {
    const hash = createHash('sha256')
    for (const name of STREAMS) hash.update(patch[name])
    return [path, hash.digest('hex')]
  })
  return { files, hashes }
}

describe('chooseWays()', () => {
  test('gives what is certainly in a frame while programs are still compared, and patches in the order of the plan', async () => {
    const compared: (() => void)[] = []
    const pool = poolOf(2, (kind) => kind === 'compare' ? new Promise<void>((resolve) => compared.push(resolve)) : Promise.resolve()) // prettier-ignore
    const { patched, segments } = waysBy(pool)
    const found = segments as AsyncIterable<Segment>
    const given: Segment[] = []
    const iterator = found[Symbol.asyncIterator]()
    for (let i = 0; i < 2; i++) given.push((await iterator.next()).value as Segment)
    expect(given.flatMap(({ files }) => files.map(({ path }) => path)).toSorted()).toEqual(
      [...pairs.keys()].filter((path) => path === 'another' || /^text\/\d+$/.test(path)).toSorted(),
    )
    expect(given.map(({ last }) => last)).toEqual([false, false])
    expect(patched.size).toBe(0)
    const rest = iterator.next()
    for (let done = false; !done;) {
      for (const end of compared.splice(0)) end()
      done = await Promise.race([rest.then(() => true), sleep(5).then(() => false)])
    }
    expect((await rest).done).toBe(true)
    expect([...patched.keys()]).toEqual([...pairs.keys()].filter((path) => /so$|program/.test(path)))
  })

  test('gives the same however many jobs run at once, in whatever order they end', async () => {
    const usual = await told(waysBy(poolOf(1, () => Promise.resolve())))
    let count = 0
    const late = poolOf(8, () => sleep((count++ * 7) % 11))
    expect(await told(waysBy(late))).toEqual(usual)
  })

  test('gives no segment more than the host can hold, old files and new ones', async () => {
    const memory = 4.5 * MIB
    let most = 0
    for await (const { files, references } of waysBy(poolOf(2, () => Promise.resolve()), { ...CAN, memory }).segments) {
      const sum = (of: readonly { size: number }[]): number => of.reduce((total, { size }) => total + size, 0)
      most = Math.max(most, sum(files) + sum(references))
    } // prettier-ignore
    expect(most).toBeLessThanOrEqual(memory)
    expect(most).toBeGreaterThan(memory / 3)
  })
})

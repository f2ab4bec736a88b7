// Frames behind a delta's first tar, by xz and the zstd of several releases: decoded after old files, and refused where they are odd.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { steady } from '../../src/delta/effort.ts'
import type { Pool } from '../../src/delta/pool.ts'
import { answer, type Answer, type Job } from '../../src/delta/work.ts'
import { byteString } from '../../src/model/bytes.ts'
import type { FileEntry } from '../../src/model/entry.ts'
import { noise } from '../delta/patches.ts'
import { ZSTDS, layZstd } from '../fixture/zstd.ts'
import { busyboxShell } from './busybox.ts'
import { Bench, deltaBetween, ground, readTree, runtimeText, type Delta } from './runtime.ts'

const MIB = 1 << 20
const OLD = 130 * MIB
/** One call of zstd holds the old bytes twice while it takes them for its own, or them and what it decodes. */
const LIMIT_KIB = (2 * OLD + 24 * MIB) >> 10

/** The jobs as a thread does them, but frames by the zstd that is here: the library finds nothing more than 128 MiB away. */
const pool: Pool = {
  cores: 1,
  run: async (job, give = () => {}) => made(job, give) as Answer<typeof job.kind>,
  async [Symbol.asyncDispose]() {},
}
function made(job: Job, give: (part: Uint8Array) => void): ReturnType<typeof answer> {
  if (job.kind !== 'after' || job.tool !== 'zstd') return answer(job, give)
  const [old, now] = ['old', 'now'].map((name) => join(ground, name)) as [string, string]
  writeFileSync(old, job.before)
  writeFileSync(now, job.bytes)
  const frame = execFileSync('zstd', ['-qc', '--long=31', `--patch-from=${old}`, now])
  give(frame)
  return frame.length
}

let base: Bench
let delta: Delta
/** The delta with another frame, of which other sizes are told. */
const withFrame = (of: Delta, make: (frame: Buffer, raw: number) => { frame: Buffer; raw: number }): Delta => {
  const [{ size, raw } = { size: 0, raw: 0 }] = of.frames?.() ?? []
  const bytes = readFileSync(of.file)
  const other = make(bytes.subarray(0, size), raw)
  const file = join(mkdtempSync(join(ground, 'delta-')), 'delta')
  writeFileSync(file, Buffer.concat([other.frame, bytes.subarray(size)]))
  return { ...of, file, frames: () => [{ size: other.frame.length, raw: other.raw }] }
}
const zstd = (args: readonly string[], input: Uint8Array): Buffer =>
  execFileSync('zstd', args, { input, maxBuffer: 1 << 25 })

beforeAll(async () => {
  base = new Bench()
  const [rootfs, changed] = ['rootfs', 'changed'].map((name) => join(base.work, name)) as [string, string]
  // what is new stands at the ends, so far away as can be
  const old = Buffer.concat([noise(MIB, 1), Buffer.alloc(OLD - 2 * MIB), noise(MIB, 2)])
  for (const [directory, contents] of [[rootfs, 'old'], [changed, Buffer.concat([old.subarray(7, MIB), old.subarray(-MIB)])]] as const) {
    mkdirSync(join(directory, 'etc'), { recursive: true })
    writeFileSync(join(directory, 'etc/file'), contents)
    writeFileSync(join(directory, 'etc/old'), old)
    execFileSync('find', [directory, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
  } // prettier-ignore
  await base.push(rootfs)
  const file = (await readTree(changed)).entries.find(({ path }) => path === 'etc/file') as FileEntry
  delta = await deltaBetween(rootfs, changed, {
    dialect: 'pax',
    packing: { codecs: [], pace: steady(1e6, 1), pool },
    old: () => old,
    ways: (tree) => ({
      patched: new Map(),
      segments: [
        {
          references: [{ tree, path: byteString('etc/old'), sha256: '', size: OLD }],
          files: [file],
          all: { bytes: file.size, packed: 0 },
          last: true,
        },
      ],
    }),
  })
})
afterAll(() => base.remove())

describe.each(ZSTDS.filter((name) => name !== '1.0.0'))('receive of a frame by zstd %s', (name) => {
  let bench: Bench
  let program: string
  beforeAll(() => {
    bench = base.clone()
    const place = mkdtempSync(join(ground, 'zstd-'))
    const command = layZstd(name, { below: place, place })
    program = join(place, 'program')
    const script = `#!/bin/sh\nulimit -v "\${KIB:-unlimited}"\nexec ${command} "$@"\n`
    writeFileSync(program, script, { mode: 0o755 })
  })
  afterAll(() => bench.remove())
  const deliver = (of: Delta, kib: number | '' = ''): Promise<string> => {
    const inside = `mount --bind "$0" /usr/bin/zstd && KIB=${kib} exec dash "$@"`
    return bench.deliver(of, { shell: ['unshare', '--mount', 'sh', '-c', inside, program], text: runtimeText, expected: 1, number: 2 }) // prettier-ignore
  }

  const odd: readonly [what: string, make: (frame: Buffer, raw: number) => { frame: Buffer; raw: number }][] = [
    ['whose window is larger than the old bytes and what it announces', (frame, raw) => ({ frame: zstd(['-c', '--long=28'], zstd(['-dc', `--patch-from=${join(base.work, 'rootfs/etc/old')}`], frame)), raw })],
    ['that is more than it announces', (frame, raw) => ({ frame, raw: raw >> 1 })],
    ['that is cut', (frame, raw) => ({ frame: frame.subarray(0, -1), raw })],
    ['that is damaged', (frame, raw) => ({ frame: Buffer.from(frame).fill(0xff, 30, 40), raw })],
    ['that is none', (_, raw) => ({ frame: Buffer.alloc(1000, 'x'), raw })],
  ] // prettier-ignore
  test.each(name === 'own' ? odd : odd.slice(0, 1))('refuses one %s, and nothing is published', async (_, make) => {
    expect(await deliver(withFrame(delta, make))).toMatch(/^die E_HASH cannot (decode|unpack) the delta/m)
    expect((await bench.current()).number).toBe(1)
    expect(bench.leftovers()).toEqual([])
  })

  test('takes one after old files of more than 128 MiB, with no more memory than for those twice', async () => {
    expect(readFileSync(delta.file).length).toBeLessThan(100_000)
    expect(await deliver(delta, LIMIT_KIB)).toMatch(/^ok\n/m)
    expect((await bench.current()).number).toBe(2)
  })
})

describe.each([
  ['xz', 'pax', (): string[] => ['bash', '--posix']],
  ["BusyBox's xz", 'gnu', busyboxShell],
] as const)('receive of a frame by %s', (_, dialect, shellOf) => {
  const bench = new Bench()
  let shell: string[]
  let number = 1
  afterAll(() => bench.remove())
  const rootfs = join(bench.work, 'rootfs')
  const changed = join(bench.work, 'changed')
  /** Two trees, the second with a file that is put together of the old ones. */
  const laidOut = async (sizes: readonly number[]): Promise<Delta> => {
    const olds = sizes.map((size, i) => noise(size, i))
    for (const directory of [rootfs, changed]) {
      rmSync(directory, { recursive: true, force: true })
      mkdirSync(join(directory, 'etc'), { recursive: true })
      for (const [i, old] of olds.entries()) writeFileSync(join(directory, `etc/old\n${i}`), old)
      writeFileSync(join(directory, 'etc/file'), `${directory} ${sizes.join()}`)
    }
    const now = Buffer.concat([...olds, noise(1000, 99), ...olds.toReversed()])
    writeFileSync(join(changed, 'etc/file'), now)
    execFileSync('find', [rootfs, changed, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
    await bench.push(rootfs)
    number = (await bench.current()).number
    const file = (await readTree(changed)).entries.find(({ path }) => path === 'etc/file') as FileEntry
    const of = await deltaBetween(rootfs, changed, {
      dialect,
      packing: { codecs: [], pace: steady(1e6, 1), pool },
      frames: 'xz',
      old: (sha256) => olds[Number(sha256)],
      ways: (tree) => ({
        patched: new Map(),
        segments: [{ references: sizes.map((size, i) => ({ tree, path: byteString(`etc/old\n${i}`), sha256: `${i}`, size })), files: [file], all: { bytes: file.size, packed: 0 }, last: true }],
      }),
    }) // prettier-ignore
    const rest = sizes.reduce((sum, size) => sum + size, 0) > 10_000 ? now.length / 10 : Infinity
    expect(of.frames?.()[0]?.size).toBeLessThan(rest + 5000)
    return of
  }
  const deliver = (of: Delta): Promise<string> => bench.deliver(of, { shell, text: runtimeText, expected: number, number: number + 1 }) // prettier-ignore
  beforeAll(() => void (shell = shellOf()))

  test.each([[[0]], [[1]], [[65_536]], [[65_537, 3]], [[200_000, 0, 300_000]], [[1_000_000]]])(
    'takes one after old files of %j bytes',
    async (sizes) => {
      const of = await laidOut(sizes)
      expect(await deliver(of)).toMatch(/^ok\n/m)
      expect(await bench.current()).toEqual({ number: number + 1, tree: of.tree })
    },
  )

  test.each([
    ['whose window is larger than 64 MiB', (frame: Buffer, raw: number) => ({ frame: withWindow(frame, 29), raw })],
    ['that is more than it announces', (frame: Buffer, raw: number) => ({ frame, raw: raw >> 1 })],
    ['that is cut', (frame: Buffer, raw: number) => ({ frame: frame.subarray(0, -1), raw })],
    ['that is damaged', (frame: Buffer, raw: number) => ({ frame: Buffer.from(frame).fill(0xff, 40, 60), raw })],
    ['that ends behind its head', (frame: Buffer, raw: number) => ({ frame: frame.subarray(0, 24), raw })],
  ])('refuses one %s, and nothing is published', async (__, make) => {
    const of = withFrame(await laidOut([70_000]), make)
    expect(await deliver(of)).toMatch(/^die E_HASH cannot (decode|unpack) the delta/m)
    expect((await bench.current()).number).toBe(number)
    expect(bench.leftovers()).toEqual([])
  })
})

/** The frame of xz as if it needed a window of another size. */
function withWindow(frame: Buffer, power: number): Buffer {
  const block = Buffer.from(frame.subarray(12, 20))
  block[4] = power
  const sum = Buffer.alloc(4)
  sum.writeUInt32LE(crc32(block))
  return Buffer.concat([frame.subarray(0, 12), block, sum, frame.subarray(24)])
}

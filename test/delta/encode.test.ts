// encodeDelta: the bytes of a plan are the same each time, in each codec, and hold what the host is told to do.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { steady, type Codec, type Pace } from '../../src/delta/effort.ts'
import { encodeDelta, type DeltaOptions } from '../../src/delta/encode.ts'
import type { Pool } from '../../src/delta/pool.ts'
import { answer, type Answer } from '../../src/delta/work.ts'
import { byteString } from '../../src/model/bytes.ts'
import type { FileEntry, Metadata } from '../../src/model/entry.ts'
import type { Plan } from '../../src/model/plan.ts'
import { makeTree } from '../../src/model/tree.ts'
import { readTar, type TarMember } from '../../src/tar/read.ts'
import { chunked, collect } from '../tar/raw-header.ts'

const META: Metadata = { mode: 0o640, uid: 1, gid: 2, mtimeNs: 3_000_000_000n, xattrs: [] }
const [BASE, OTHER, TREE] = ['b', 'd', 'a'].map((digit) => digit.repeat(64)) as [string, string, string]

function file(path: string, size = 5, xattrs: Metadata['xattrs'] = []): FileEntry {
  const sha256 = createHash('sha256').update(`${size}`).digest('hex')
  return { kind: 'file', path: byteString(path), ...META, xattrs, size, sha256, first: byteString(path) }
}

const root = { kind: 'directory' as const, path: byteString(''), ...META }
const link = { kind: 'symlink' as const, path: byteString('s'), ...META, mode: 0o777, target: byteString('to\xff') }
const sent = file('sent\xe9', 5, [{ name: byteString('user.a'), value: byteString('\0\n') }])
const alias = { ...file('z', 5), first: sent.path }
const tree = makeTree([root, sent, file('here'), file('moved'), file('linked'), link, { ...sent, path: byteString('z'), first: sent.path }]) // prettier-ignore

const plan: Plan = {
  tree: TREE,
  base: BASE,
  drop: [byteString('gone\n'), byteString('here')],
  steps: [
    { kind: 'make', entry: root },
    { kind: 'send', entry: sent },
    { kind: 'link', entry: file('linked'), from: { tree: OTHER, path: byteString('x') } },
    { kind: 'copy', entry: file('here'), from: { tree: BASE, path: byteString('here') } },
    { kind: 'copy', entry: file('moved'), from: { tree: BASE, path: byteString('here') } },
    { kind: 'alias', entry: alias, copied: false },
    { kind: 'alias', entry: { ...file('y'), first: byteString('here') }, copied: true },
    { kind: 'make', entry: link },
  ],
  entries: 7,
  bytes: { rootfs: 20, changed: 5 },
}

const contents = (entry: FileEntry): Uint8Array => Buffer.alloc(entry.size, 'x')
/** The jobs as a thread does them, in this one: threads run what was built. */
const pool: Pool = {
  cores: 2,
  run: async (job, give = () => {}) => answer(job, give) as Answer<typeof job.kind>,
  async [Symbol.asyncDispose]() {},
}
const by = (codec: Codec): Partial<DeltaOptions> =>
  codec === 'none' ? {} : { packing: { codecs: [codec], pace: steady(1e6, 2), pool } }
async function encoded(options: Partial<DeltaOptions> = {}, of = plan): Promise<{ bytes: Buffer; raw: number }> {
  const made = encodeDelta(of, { tree, dialect: 'pax', contents, ...options })
  const bytes = await collect(made.chunks)
  return { bytes, raw: made.raw() }
}

async function membersOf(bytes: Buffer): Promise<Map<string, TarMember & { text: string }>> {
  const members = new Map<string, TarMember & { text: string }>()
  const limits = { entries: 100, bytes: 1e6 }
  for await (const found of readTar(chunked(bytes), { limits, onWarning: () => {} }))
    members.set(found.member.path, { ...found.member, text: (await collect(found.contents)).toString('latin1') })
  return members
}

describe('encodeDelta()', () => {
  const undo: Record<Exclude<Codec, 'none'>, string[]> = { zstd: ['zstd', '-dc'], xz: ['xz', '-dc'], gzip: ['gzip', '-dc'] } // prettier-ignore

  test.each(Object.entries(undo))('gives the same bytes by %s each time, and the tool gives the tar back', async (codec, [tool = '', ...args]) => {
    const plain = await encoded()
    const packed = await encoded(by(codec as Codec))
    expect(packed.bytes.equals((await encoded(by(codec as Codec))).bytes)).toBe(true)
    expect(execFileSync(tool, args, { input: packed.bytes }).equals(plain.bytes)).toBe(true)
    expect(packed.raw).toBe(plain.bytes.length)
  }) // prettier-ignore

  test('gives the same bytes for many contents, whatever pieces they come in', async () => {
    const large = file('large', 9 << 20)
    const of: Plan = { ...plan, steps: [{ kind: 'make', entry: root }, { kind: 'send', entry: large }], bytes: { rootfs: large.size, changed: large.size } } // prettier-ignore
    const bytes = Buffer.from(Array.from({ length: large.size / 8 }, (_, i) => `${i % 9973}`.padStart(8)).join(''))
    const digest = async (piece: number): Promise<string> =>
      createHash('sha256').update((await encoded({ ...by('zstd'), contents: () => chunked(bytes, piece) }, of)).bytes).digest('hex') // prettier-ignore
    expect(await digest(65_536)).toBe(await digest(1_000_003))
  })

  test('gives the same bytes however many jobs run at once, in whatever order they end', async () => {
    const large = file('large', 40 << 20)
    const of: Plan = { ...plan, steps: [{ kind: 'make', entry: root }, { kind: 'send', entry: large }], bytes: { rootfs: large.size, changed: large.size } } // prettier-ignore
    const text = Buffer.from(Array.from({ length: 1 << 16 }, (_, i) => `${i % 9973}`.padStart(8)).join(''))
    const bytes = Buffer.concat(Array.from({ length: large.size / text.length }, () => text))
    let later = 50
    const slow: Pool = { ...pool, run: async (job, give = () => {}) => (await sleep((later -= 10)), answer(job, give) as Answer<typeof job.kind>) } // prettier-ignore
    const digest = async (jobs: Pool): Promise<string> =>
      createHash('sha256').update((await encoded({ packing: { codecs: ['zstd'], pace: steady(1e6, 2), pool: jobs }, contents: () => chunked(bytes, 1 << 20) }, of)).bytes).digest('hex') // prettier-ignore
    const one = await digest({ ...pool, cores: 1 })
    expect(await digest({ ...slow, cores: 4 })).toBe(one)
  })

  test('begins with a small piece, which a link waits for, and with a larger one where nothing but effort saves bytes', async () => {
    const size = 20 << 20
    const of: Plan = { ...plan, steps: [{ kind: 'send', entry: file('large', size) }] }
    const sizes = async (thrifty: boolean): Promise<number[]> => {
      const seen: number[] = []
      const seeing: Pool = {
        ...pool,
        run: async (job, give = () => {}) => {
          if ('bytes' in job) seen.push(job.bytes.length >> 20)
          return answer(job, give) as Answer<typeof job.kind>
        },
      }
      await encoded({ packing: { codecs: ['zstd'], pace: steady(100e6, 2), pool: seeing, thrifty }, contents: () => chunked(Buffer.alloc(size), 1 << 20) }, of) // prettier-ignore
      return seen
    }
    expect(await sizes(false)).toEqual([4, 8, 8])
    expect(await sizes(true)).toEqual([8, 12])
  })

  test('tells how fast large pieces were made, though threads take their memory away', async () => {
    const size = 3 << 20
    const of: Plan = { ...plan, steps: [{ kind: 'send', entry: file('large', size) }] }
    const away: Pool = {
      ...pool,
      run: async (job, give = () => {}) => {
        const its = structuredClone(job, { transfer: 'bytes' in job ? [job.bytes.buffer as ArrayBuffer] : [] })
        await sleep(600)
        return answer(its, give) as Answer<typeof job.kind>
      },
    }
    const told: number[] = []
    const pace: Pace = { ...steady(100e6, 2), made: (_, bytesPerSecond) => void told.push(bytesPerSecond) }
    await encoded({ packing: { codecs: ['zstd'], pace, pool: away }, contents: () => chunked(Buffer.alloc(size), 1 << 20) }, of) // prettier-ignore
    expect(told.length).toBe(1)
    expect(told[0]).toBeGreaterThan(size / 60)
  })

  test('says what goes, what is linked and what is copied', async () => {
    const members = await membersOf((await encoded()).bytes)
    const shown = [...members.values()].map(({ path, kind, linkname, text }) => [kind, path, linkname + text])
    expect(shown).toEqual([
      ['file', 'stage/steps', `varve-delta 1\ntree ${TREE}\nbase ${BASE}\nuses ${BASE}\nuses ${OTHER}\nend\n`],
      ['file', 'stage/drop', './gone\n\0./here\0'],
      ['file', 'stage/alias', './here//./y\0'],
      ['file', 'stage/xattrs', './sent\xe9//user.a=0x000a\n./z//user.a=0x000a\n'],
      ['directory', 'stage/m', ''],
      ['file', 'stage/m/sent\xe9', 'xxxxx'],
      ['hardlink', 'stage/m/linked', `tree/${OTHER}/root/x`],
      ['file', 'stage/k/here', ''],
      ['file', 'stage/j/moved', ''],
      ['hardlink', 'stage/l/moved', `tree/${BASE}/root/here`],
      ['hardlink', 'stage/m/z', 'stage/m/sent\xe9'],
      ['symlink', 'stage/m/s', 'to\xff'],
    ])
  })

  test('has contents once that the plan has several times, and says which of them are copied on the host', async () => {
    const copy = { kind: 'copy' as const, entry: file('twin'), from: { tree: TREE, path: sent.path } }
    const of: Plan = { ...plan, base: undefined, drop: [], steps: [{ kind: 'send', entry: sent }, copy] }
    const shown = async (options: Partial<DeltaOptions> = {}): Promise<[string, string][]> => {
      const { bytes, raw } = await encoded({ tree: makeTree([root]), ...options }, of)
      const members = await membersOf(bytes.subarray(-raw)) // behind the frames
      return [...members.values()].map(({ path, linkname, text }) => [path, linkname + text])
    }
    const steps = `varve-delta 1\ntree ${TREE}\nbase -\nend\n`
    const skeletonAndLink: [string, string][] = [['stage/j/twin', ''], ['stage/l/twin', 'stage/m/sent\xe9']] // prettier-ignore
    expect(await shown()).toEqual([['stage/steps', steps], ['stage/m/sent\xe9', 'xxxxx'], ...skeletonAndLink]) // prettier-ignore
    const reference = { tree: OTHER, path: byteString('old'), sha256: '', size: 5 }
    const [, again] = await shown({
      packing: { codecs: [], pace: steady(1e6, 2), pool },
      old: () => Buffer.from('older'),
      ways: {
        patched: new Map(),
        segments: [{ references: [reference], files: [sent], all: { bytes: 5, packed: 5 }, last: true }],
      },
    })
    expect(again).toEqual(['stage/again', './sent\xe9//./twin\0'])
  })

  test('tells BusyBox the times that its tar leaves as they fall, and is plain ustar and GNU to it', async () => {
    const steps = plan.steps.map((step) =>
      step.kind === 'send' ? { ...step, entry: { ...step.entry, xattrs: [] } } : step,
    )
    const { bytes } = await encoded({ dialect: 'gnu' }, { ...plan, steps })
    expect((await membersOf(bytes)).get('stage/times')?.text).toBe('@3 ./\0@3 ./s\0')
    expect(bytes.includes('PaxHeader')).toBe(false)
  })

  test('fails with what reading contents fails with', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('xx')
      await Promise.reject(new Error('gone'))
    }
    for (const codec of ['none', 'zstd', 'gzip', 'xz'] as const)
      await expect(encoded({ ...by(codec), contents: broken })).rejects.toThrow('gone')
  })

  test('fails where contents are shorter or longer than the plan says', async () => {
    for (const wrong of ['xxxx', 'xxxxxx'])
      for (const codec of ['none', 'zstd'] as const)
        await expect(encoded({ ...by(codec), contents: () => Buffer.from(wrong) })).rejects.toMatchObject({
          code: 'E_SOURCE_CHANGED',
        })
  })
})

// Patches on a host with neither perl nor python3: what only copies is made by dd, and nothing is made of what is not sound.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { array, assert, property } from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { matchBlocks } from '../../src/delta/blocks.ts'
import { makeCopies } from '../../src/delta/copies.ts'
import { makePatch } from '../../src/delta/patch.ts'
import type { Patch } from '../../src/delta/streams.ts'
import { byteString } from '../../src/model/bytes.ts'
import { TREE, layOut, madeIn, noise, rebuilt, signatureOf, type Said } from '../delta/patches.ts'
import { busyboxDelta, busyboxShell } from './busybox.ts'
import { Bench, evaluated, ground, runtimeText } from './runtime.ts'

/** The runtime up to its loop, and then but `patched`; dd counts bytes, or does not. */
const text = `${runtimeText.replace(/^while read -r verb words; do[^]*/m, '')}
has() { case $1 in perl | python3) return 1 ;; esac }
patched || { tail -n 1 "$store/tx/err"; exit 1; }`
const plain = text.replace('" = bc ]; then ranges=yes', '" = no ]; then ranges=yes')
const hosts = [
  { name: 'dash', by: 'dd', shell: (): string[] => ['dash'], run: text },
  { name: 'bash --posix', by: 'dd that counts blocks only', shell: (): string[] => ['bash', '--posix'], run: plain },
  { name: 'BusyBox ash', by: "BusyBox's dd", shell: busyboxShell, run: text },
  { name: 'BusyBox ash', by: "BusyBox's dd that counts blocks only", shell: busyboxShell, run: plain },
]
let store: string
beforeAll(() => void (store = mkdtempSync(join(ground, 'store-'))))
afterAll(() => rmSync(store, { recursive: true }))

const copied = (old: Uint8Array, now: Uint8Array): Said => ({ old, now, patch: makeCopies(old, now) })

describe.each(hosts)('patched() under $name by $by', ({ shell, run }) => {
  let words: string[]
  beforeAll(() => void (words = shell()))
  const apply = (files: readonly Said[]): { status: number | null; said: string; made: Buffer[] } => {
    layOut(store, files)
    const [program = '', ...args] = words
    const { status, stdout, stderr } = spawnSync(program, [...args, ...evaluated(run, ['/root', '0', store, '/run'])])
    expect(stderr.toString()).toBe('')
    return { status, said: stdout.toString(), made: madeIn(store, files) }
  }

  test('gives the new files, several at once', () => {
    expect(run).toContain('patched ||')
    assert(
      property(array(rebuilt, { minLength: 1, maxLength: 4 }), (pairs) => {
        const files = pairs.map(({ old, now }) => copied(old, now))
        const { status, said, made } = apply(files)
        expect([status, said]).toEqual([0, ''])
        for (const [i, { now }] of files.entries()) expect(made[i]?.equals(now)).toBe(true)
      }),
      { numRuns: 10 },
    )
  })

  test('gives files of blocks, long copies and long literals, and of nothing', () => {
    const old = noise(3_000_000, 1)
    const now = Buffer.concat([noise(1, 2), old.subarray(0, 2_500_000), noise(1_200_000, 2), old.subarray(512, 1024)])
    const blocks = { block: 1744, width: 7 }
    const files = [
      copied(new Uint8Array(), new Uint8Array()),
      copied(old, now),
      { old, now, patch: matchBlocks({ ...blocks, size: old.length, signatures: signatureOf(old, blocks) }, now) },
      copied(new Uint8Array(), old),
      copied(old, new Uint8Array()),
      copied(old, old),
      copied(new Uint8Array(), noise(1 << 20, 3)),
    ]
    const { status, made } = apply(files)
    expect(status).toBe(0)
    for (const [i, file] of files.entries()) expect(made[i]?.equals(file.now), String(i)).toBe(true)
  })

  test('gives a file of hundreds of copies, back and forth', () => {
    const old = noise(500_000, 4)
    const pieces = Array.from({ length: 400 }, (_, i) => {
      const at = (i * 7919 * 61) % 498_000
      return Buffer.concat([old.subarray(at, at + 1100 + i), noise(i % 9, i)])
    })
    const file = copied(old, Buffer.concat(pieces))
    expect(file.patch.literals.length).toBeLessThan(3000)
    const { status, made } = apply([file])
    expect(status).toBe(0)
    expect(made[0]?.equals(file.now)).toBe(true)
  })

  const now = Buffer.concat([noise(5000, 3).subarray(100), noise(50, 4)])
  const good = copied(noise(5000, 3), now)
  const { patch } = good
  const line = (paths: string, ...sizes: number[]): string => `${paths}\0${sizes.join(' ')}\0`
  const own = [patch.ops.length, 0, 0, 0, patch.literals.length]
  const nothing = makeCopies(new Uint8Array(), new Uint8Array())
  const outside = (): string => join(store, 'x')
  test.each([
    ['that leaves the tree', { words: line(`tree/${TREE}/root/../../../etc/passwd\0x`, 4950, ...own) }],
    ['of what is no tree', { words: line(`c/app/gen/1\0x`, 4950, ...own) }],
    ['of a tree whose id is none', { words: line(`tree/${'../'.repeat(21)}a/root/f0\0x`, 4950, ...own) }],
    ['that is put beside the stage', { words: line(`tree/${TREE}/root/f0\0../../x`, 4950, ...own) }],
    ['that is put at an absolute path', { words: line(`tree/${TREE}/root/f0\0/etc/x`, 4950, ...own) }],
    ['whose old file is none', { words: line(`tree/${TREE}/root/none\0x`, 4950, ...own) }],
    ['whose sizes are no numbers', { words: `tree/${TREE}/root/f0\0x\0many\0` }],
    ['whose sizes are too many', { words: line(`tree/${TREE}/root/f0\0x`, 4950, ...own, 0) }],
    ['whose words are cut', { words: `${line(`tree/${TREE}/root/f0\0x`, 4950, ...own)}tree/${TREE}/root/f0\0y\0` }],
    ['whose streams are short', { words: line(`tree/${TREE}/root/f0\0x`, 4950, patch.ops.length + 9, 0, 0, 0, patch.literals.length) }],
    ['whose streams are long', { words: line(`tree/${TREE}/root/f0\0x`, 4950, patch.ops.length - 1, 0, 0, 0, patch.literals.length) }],
    ['whose literals are short', { patch: { ...patch, literals: patch.literals.subarray(1) }, words: line(`tree/${TREE}/root/f0\0x`, 4950, ...own) }],
    ['that makes another size', { words: line(`tree/${TREE}/root/f0\0x`, 4951, ...own) }],
    ['that copies from behind the end', { old: new Uint8Array(10) }],
    ['that copies from before the beginning', { patch: { ...nothing, ops: Buffer.from([0, 8, 1, 0]) }, now: new Uint8Array(8) }],
    ['that has differences', { old: noise(9000, 5), now: changed(noise(9000, 5)), patch: makePatch(noise(9000, 5), changed(noise(9000, 5))) }],
    ['that counts differences and has none', { patch: { ...nothing, ops: Buffer.from([0, 8, 0, 1]) }, now: new Uint8Array(8) }],
    ['whose copy is too long', { patch: { ...nothing, ops: Buffer.from([0, 0xc0, 0x80, 1, 0, 0]) }, now: new Uint8Array(1_048_577), old: new Uint8Array(2_000_000) }],
    ['whose numbers have no end', { patch: { ...nothing, ops: Buffer.from([0, 8, 0, 0x80]) }, now: new Uint8Array(8) }],
    ['whose number is beyond all', { patch: { ...nothing, ops: Buffer.from([0, 8, ...Array.from({ length: 40 }, () => 0xff), 0, 0]) }, now: new Uint8Array(8) }],
  ])('refuses a patch %s', (_, wrong) => {
    const { status, said } = apply([good, { ...good, ...wrong }])
    expect([status, said]).toEqual([1, 'the patch of a file is not sound\n'])
    expect(existsSync(outside())).toBe(false)
    expect(existsSync('/etc/x')).toBe(false)
  }) // prettier-ignore

  test('writes nothing where any patch is not sound in itself', () => {
    const { made } = apply([good, { ...good, patch: { ...nothing, ops: Buffer.from([0, 8, 0, 1]) }, now: new Uint8Array(8) }]) // prettier-ignore
    expect(made.map(String)).toEqual(['none', 'none'])
  })

  test('makes directories where they lack, and finds those that are there', () => {
    mkdirSync(join(store, 'stage'), { recursive: true })
    writeFileSync(join(store, 'stage/x'), '')
    const list = ['a', 'b/c', 'b/d/e', 'b/f'].map((path) => line(`tree/${TREE}/root/f0\0${path}`, 4950, ...own))
    const files = list.map((words) => ({ ...good, words }))
    expect(apply(files).status).toBe(0)
    expect(['a', 'b/c', 'b/d/e', 'b/f'].map((path) => existsSync(join(store, 'stage/c', path)))).not.toContain(false)
  })
})

describe('receive on a host of BusyBox', () => {
  const old = noise(5000, 6)
  const now = Buffer.concat([noise(10, 7), old.subarray(0, 4000)])
  const patch = makeCopies(old, now)
  let bench: Bench
  let changedTo: string
  let shell: string[]
  beforeAll(async () => {
    shell = busyboxShell()
    bench = new Bench()
    const rootfs = join(bench.work, 'rootfs')
    changedTo = join(bench.work, 'changed')
    for (const [directory, contents] of [[rootfs, old], [changedTo, now]] as const) {
      mkdirSync(join(directory, 'etc'), { recursive: true })
      writeFileSync(join(directory, 'etc/file'), contents)
      execFileSync('find', [directory, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
    }
    await bench.push(rootfs)
  }) // prettier-ignore
  afterAll(() => bench.remove())
  const deliver = async (path: string, file: string, said: Patch): Promise<string> => {
    const delta = await busyboxDelta(join(bench.work, 'rootfs'), changedTo, (tree) => {
      const reference = { tree, path: byteString(path), sha256: '', size: 5000 }
      const good = { reference: { ...reference, path: byteString('etc/file') }, size: now.length, patch }
      const patched = new Map([[byteString('etc/file'), good]]).set(byteString(file), { reference, size: now.length, patch: said }) // prettier-ignore
      return { patched, segments: [] }
    })
    return bench.deliver(delta, { shell, text: runtimeText, expected: 1, number: 2 })
  }
  /** Also where the host's own root is. */
  const escaped = (): string => execFileSync('find', [ground, '-xdev', '-name', 'escaped']).toString()

  test.each([
    ['of a path that leaves the tree', '../../../../../../../etc/passwd', 'etc/file', patch],
    ['of a directory', 'etc', 'etc/file', patch],
    ['to a path that leaves the stage', 'etc/file', '../../../../escaped', patch],
    ['to an absolute path', 'etc/file', '/etc/escaped', patch],
    ['that copies from behind the end', 'etc/file', 'etc/file', makeCopies(noise(9000, 8), noise(9000, 8).subarray(9000 - now.length))], // prettier-ignore
    ['that has differences', 'etc/file', 'etc/file', makePatch(old, changed(old.subarray(0, 4010)))],
  ])('refuses a patch %s, and nothing is published', async (_, path, file, said) => {
    expect(await deliver(path, file, said)).toMatch(
      /^die E_HASH cannot patch files: the patch of a file is not sound$/m,
    )
    expect(escaped()).toBe('')
    expect((await bench.current()).number).toBe(1)
    expect(bench.leftovers()).toEqual([])
  })

  test('refuses a patch that makes another file', async () => {
    const other = makeCopies(old, Buffer.concat([noise(10, 9), old.subarray(0, 4000)]))
    expect(await deliver('etc/file', 'etc/file', other)).toMatch(/^die E_HASH cannot publish the tree/m)
    expect((await bench.current()).number).toBe(1)
  })

  test('takes a patch that is sound', async () => {
    expect(await deliver('etc/file', 'etc/file', patch)).toMatch(/^ok\n/m)
    expect((await bench.current()).number).toBe(2)
  })
})

function changed(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => (i === 2000 ? byte ^ 1 : byte))
}

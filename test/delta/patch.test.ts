// makePatch: what it makes is made whole again by the host's own programs, in perl and in python3, and nothing else is.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { array, assert, integer, nat, property, record, tuple } from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makePatch } from '../../src/delta/patch.ts'
import { STREAMS } from '../../src/delta/streams.ts'
import { TREE, layOut, madeIn, noise, rebuilt, type Said } from './patches.ts'

const runtime = readFileSync(join(import.meta.dirname, '../../src/runtime/patch.sh'), 'utf8')
const programOf = (name: string): string => new RegExp(`${name}='([^']*)'`).exec(runtime)?.[1] ?? ''
const interpreters = { perl: ['-e', programOf('patch_perl')], python3: ['-c', programOf('patch_python')] }
const names = Object.keys(interpreters) as (keyof typeof interpreters)[]
let store: string
beforeAll(() => void (store = mkdtempSync(join(tmpdir(), 'varve-patch-'))))
afterAll(() => rmSync(store, { recursive: true }))

/** Lays it all out as receive does, and runs the program. */
function apply(
  program: keyof typeof interpreters,
  files: readonly Said[],
): { status: number | null; stderr: string; made: Buffer[] } {
  layOut(store, files)
  const { status, stderr } = spawnSync(program, interpreters[program], { cwd: store, encoding: 'utf8' })
  return { status, stderr, made: madeIn(store, files) }
}

const said = (old: Uint8Array, now: Uint8Array): Said => ({ old, now, patch: makePatch(old, now) })

/**
 * An ELF file of two segments whose words hold addresses of all kinds, and the same with a piece put in: every address that
 * moved was told anew, as a linker does.
 */
const linked = record({
  seed: integer({ min: 0, max: 1e6 }),
  inserted: integer({ min: 1, max: 4000 }),
  at: integer({ min: 5000, max: 30_000 }),
  words: array(tuple(nat(35_000), nat(36_000), integer({ min: 1, max: 4 })), { minLength: 200, maxLength: 600 }),
}).map(({ seed, inserted, at, words }) => {
  const [size, second, base] = [40_000, 4096, 0x1000]
  const header = (extra: number): Buffer => {
    const bytes = Buffer.alloc(256)
    bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1])
    bytes.writeBigUInt64LE(64n, 32)
    bytes.writeUInt16LE(56, 54)
    bytes.writeUInt16LE(2, 56)
    for (const [i, [offset, address, length]] of [[0, 0, second], [second, second + base, size + extra - second]].entries()) {
      bytes.writeUInt32LE(1, 64 + i * 56)
      bytes.writeBigUInt64LE(BigInt(offset ?? 0), 64 + i * 56 + 8)
      bytes.writeBigUInt64LE(BigInt(address ?? 0), 64 + i * 56 + 16)
      bytes.writeBigUInt64LE(BigInt(length ?? 0), 64 + i * 56 + 32)
    }
    return bytes
  }
  const moved = (offset: number): number => (offset >= at ? offset + inserted : offset)
  const address = (offset: number): number => (offset >= second ? offset + base : offset)
  const plain = noise(size, seed)
  const [old, now] = [Buffer.from(plain), Buffer.concat([plain.subarray(0, at), noise(inserted, seed + 1), plain.subarray(at)])]
  for (const [place, target, kind] of words.map(([a, b, c]) => [300 + (a & ~7), b, c] as const)) {
    const put = (into: Buffer, where: number, to: number): void => {
      const value = [address(to) - address(where) - 4, address(to) - address(where), address(to), address(to) - second - base][kind - 1] ?? 0
      into.writeInt32LE(value, where)
    }
    if (place < at && place + 4 > at) continue
    put(old, place, target)
    put(now, moved(place), moved(target))
  }
  old.set(header(0))
  now.set(header(inserted))
  return said(old, now)
}) // prettier-ignore

describe.each(names)('makePatch() undone by %s', (program) => {
  test('gives programs whose addresses moved, and says most of them without a byte of their own', () => {
    assert(
      property(linked, (file) => {
        const { status, stderr, made } = apply(program, [file])
        expect([status, stderr]).toEqual([0, ''])
        expect(made[0]?.equals(file.now)).toBe(true)
        // of four words at most one is not foretold, but for what hangs together by chance
        const { kinds, differences } = file.patch
        expect(differences.length / 4).toBeLessThanOrEqual(kinds.length / 4 + 20)
      }),
      { numRuns: 25, endOnFailure: true },
    )
  })

  test('gives the new files, several at once', () => {
    assert(
      property(array(rebuilt, { minLength: 1, maxLength: 4 }), (pairs) => {
        const files = pairs.map(({ old, now }) => said(old, now))
        const { status, stderr, made } = apply(program, files)
        expect([status, stderr]).toEqual([0, ''])
        for (const [i, { now }] of files.entries()) expect(made[i]?.equals(now)).toBe(true)
      }),
      { numRuns: 25, endOnFailure: true },
    )
  })

  test('gives a file of several covers of the longest kind, and one of nothing old', () => {
    const old = noise(3_000_000, 1)
    const now = Buffer.concat([old.subarray(0, 2_500_000), noise(1_200_000, 2)])
    now.writeUInt32LE(7, 1_048_574)
    const { status, made } = apply(program, [said(old, now), said(new Uint8Array(), old), said(old, new Uint8Array())])
    expect(status).toBe(0)
    expect([made[0]?.equals(now), made[1]?.equals(old), made[2]?.length]).toEqual([true, true, 0])
  })

  const good = said(noise(5000, 3), Buffer.concat([noise(5000, 3).subarray(100), noise(50, 4)]))
  const { patch } = good
  const line = (paths: string, ...sizes: number[]): string => `${paths}\0${sizes.join(' ')}\0`
  const own = STREAMS.map((name) => patch[name].length)
  test.each([
    ['that leaves the tree', { words: line(`tree/${TREE}/root/../../../etc/passwd\0x`, 4950, ...own) }],
    ['of what is no tree', { words: line(`c/app/gen/1\0x`, 4950, ...own) }],
    ['that is put beside the stage', { words: line(`tree/${TREE}/root/f0\0../../x`, 4950, ...own) }],
    ['that is put at an absolute path', { words: line(`tree/${TREE}/root/f0\0/etc/x`, 4950, ...own) }],
    ['whose sizes are no numbers', { words: `tree/${TREE}/root/f0\0x\0many\0` }],
    ['whose streams are short', { words: line(`tree/${TREE}/root/f0\0x`, 4950, ...own.map((size) => size + 9)) }],
    ['that makes another size', { words: line(`tree/${TREE}/root/f0\0x`, 4951, ...own) }],
    ['that copies from behind the end', { old: new Uint8Array(10) }],
    ['with a difference outside of its cover', { patch: { ...patch, ops: Buffer.from([0, 8, 0, 1]), gaps: Buffer.from([6]), differences: Buffer.alloc(4), literals: new Uint8Array() }, now: new Uint8Array(8) }],
    ['with more differences than there are', { patch: { ...patch, ops: Buffer.from([0, 8, 0, 2]), gaps: Buffer.from([0]), differences: Buffer.alloc(4), literals: new Uint8Array() }, now: new Uint8Array(8) }],
    ['whose cover is too long', { patch: { ...patch, ops: Buffer.from([0, 0xc0, 0x80, 1, 0, 0]), gaps: new Uint8Array(), differences: new Uint8Array(), literals: new Uint8Array() }, now: new Uint8Array(1_048_577), old: new Uint8Array(2_000_000) }],
  ])('is refused for a patch %s', (_, wrong) => {
    const { status, stderr } = apply(program, [{ ...good, ...wrong }])
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/is not sound\n$/)
    expect(existsSync(join(store, '../etc/x'))).toBe(false)
  }) // prettier-ignore
})

test('makePatch() says a program that was built again in a few percent of its size', () => {
  const old = readFileSync(process.execPath).subarray(0, 8 << 20)
  const now = Buffer.concat([old.subarray(0, 1 << 20), noise(1000, 5), old.subarray(1 << 20)])
  for (let at = 2 << 20; at < 3 << 20; at += 64) now.writeUInt32LE((now.readUInt32LE(at) + 1000) % 2 ** 32, at)
  const patch = makePatch(old, now)
  expect(patch.literals.length).toBeLessThan(1100)
  const streams = Buffer.concat(STREAMS.map((name) => patch[name]))
  expect(
    execFileSync('zstd', ['-19', '-c'], { input: streams, stdio: ['pipe', 'pipe', 'ignore'] }).length,
  ).toBeLessThan(8000)
})

// matchBlocks: what it finds by signatures alone makes the new file, and leaves as new no more than it must.
import { array, assert, constantFrom, integer, nat, oneof, property, record, tuple } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { blocksFor, matchBlocks, signedSize, type Blocks } from '../../src/delta/blocks.ts'
import type { Patch } from '../../src/delta/streams.ts'
import { noise, signatureOf, undone } from './patches.ts'

const match = (old: Uint8Array, now: Uint8Array, blocks: Blocks): Patch =>
  matchBlocks({ ...blocks, size: old.length, signatures: signatureOf(old, blocks) }, now)

describe('matchBlocks()', () => {
  const piece = oneof(
    record({ from: nat(5000), length: nat(3000) }).map(({ from, length }) => ({ old: [from, length] as const })),
    record({ seed: nat(1000), length: nat(300) }).map(({ seed, length }) => ({ now: noise(length, seed + 1) })),
    nat(200).map((length) => ({ now: Buffer.alloc(length) })),
  )
  test('makes any new file of pieces of an old one, of others, and of zeros', () => {
    const given = tuple(
      integer({ min: 0, max: 5000 }),
      array(tuple(nat(5000), nat(900)), { maxLength: 2 }),
      array(piece, { maxLength: 8 }),
      constantFrom(16, 32, 48, 256, 704),
    )
    assert(
      property(given, ([size, holes, pieces, block]) => {
        const old = Uint8Array.from(noise(size, 0))
        for (const [at, length] of holes) old.fill(0, at, at + length)
        const now = Buffer.concat(
          pieces.map((said) => ('old' in said ? old.subarray(said.old[0], said.old[0] + said.old[1]) : said.now)),
        )
        const patch = match(old, now, { block, width: 7 })
        expect(undone(old, patch).equals(now)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  const old = noise(10_000, 1)
  const blocks = { block: 256, width: 7 }
  const cut = (...ranges: [number, number][]): Buffer => Buffer.concat(ranges.map(([from, to]) => old.subarray(from, to))) // prettier-ignore
  test.each([
    ['all of the same', old, 0, 1],
    ['nothing of another', noise(10_000, 2), 10_000, 0],
    ['all behind what was put before it', Buffer.concat([noise(7, 3), old]), 7, 1],
    ['the short block at the end, and behind the one before it', Buffer.concat([old, noise(5, 4), cut([9900, 10_000])]), 5 + 100 - (10_000 % 256), 2],
    ['blocks in any order', cut([2560, 5120], [0, 2560]), 0, 2],
    ['whole blocks around a change', Buffer.concat([cut([0, 3000]), noise(1, 5), cut([3001, 10_000])]), 256, 2],
    ['a file of which all is less than a block', Buffer.alloc(0), 0, 0],
  ])('finds %s', (_, now, literals, copies) => {
    const patch = match(old, now, blocks)
    expect(undone(old, patch).equals(now)).toBe(true)
    expect(patch.literals.length).toBe(literals)
    expect([...patch.ops].filter((byte) => byte < 128).length / 4).toBe(copies)
  }) // prettier-ignore

  test('finds a short file in itself and in nothing', () => {
    const short = noise(100, 6)
    expect(match(short, short, blocks).literals.length).toBe(0)
    expect(match(short, Buffer.alloc(0), blocks).literals.length).toBe(0)
    expect(match(Buffer.alloc(0), short, blocks).literals.length).toBe(100)
  })

  test('looks at a table of equal records once for each', () => {
    const table = Buffer.concat(Array.from({ length: 20_000 }, () => noise(16, 7)))
    const patch = match(table, Buffer.concat([table.subarray(0, 160_000), noise(3, 8), table]), {
      block: 256,
      width: 7,
    })
    expect(patch.literals.length).toBe(3)
  })

  test.each([4, 5, 6, 7])('makes something of the right size of signatures of %i bytes that are not true', (width) => {
    const now = noise(5000, 9)
    const told = Buffer.concat([now.subarray(2560), now.subarray(0, 2560)])
    const signatures = signatureOf(told, { block: 256, width })
    const patch = matchBlocks({ block: 256, width, size: 5000, signatures }, now)
    const made = undone(old.subarray(0, 5000), patch)
    expect(made.length).toBe(5000)
    expect(patch.literals.length).toBeLessThan(700)
    expect(made.equals(now)).toBe(false)
  })
})

test.each([
  [1, 1, 256, 4],
  [5000, 1, 288, 4],
  [100_000, 1, 704, 5],
  [100_000, 2000, 704, 7],
  [4 << 20, 1, 2048, 6],
  [100 << 20, 1, 10_240, 7],
])('blocksFor() a file of %i bytes among %i says %i, %i', (size, files, block, width) => {
  const blocks = blocksFor(size, { places: size, files })
  expect(blocks).toEqual({ block, width })
  expect(signedSize(size, blocks)).toBe(Math.ceil(size / block) * width)
})

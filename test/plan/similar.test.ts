// withSimilar: of all old files the one that a new one was made from, whatever it is called; none for what is like nothing.
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { FileEntry } from '../../src/model/entry.ts'
import type { Plan, Reference } from '../../src/model/plan.ts'
import { filesToSketch, withSimilar, type Common } from '../../src/plan/similar.ts'
import { finderOf, sketchOf } from '../../src/store/sketch.ts'

const META = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }
const named = (path: string, size = 1e4): FileEntry => ({ kind: 'file', path: byteString(path), ...META, size, sha256: path, first: byteString(path) }) // prettier-ignore
const placed = (path: string): Reference => ({ tree: 'h', path: byteString(path), size: 1e4, sha256: path })

function planOf(...steps: { entry: FileEntry; reference?: Reference }[]): Plan {
  const sent = steps.map((step) => ({ kind: 'send' as const, ...step }))
  return { tree: 't', base: undefined, drop: [], steps: sent, entries: 0, bytes: { rootfs: 0, changed: 0 } }
}
const held = (...paths: string[]): { id: string; tree: { entries: FileEntry[] } }[] => [
  { id: 'h', tree: { entries: paths.map((path) => named(path)) } },
]
const referencesOf = ({ steps }: Plan): (string | undefined)[] =>
  steps.map((step) => (step.kind === 'send' ? step.reference?.path : undefined))

/** Random bytes that are the same for the same seed, and of two seeds never the same ones from some place on. */
function noise(seed: number, size: number): Buffer {
  return createHash('shake256', { outputLength: size }).update(String(seed)).digest()
}

/** Bytes; or lines as of a program's text, in which words and beginnings come again and again. */
function contentsOf(seed: number, size: number, text: boolean): Buffer {
  if (!text) return noise(seed, size)
  const numbers = noise(seed, 4 * size)
  let at = 0
  const next = (): number => numbers.readUInt32LE((at += 4)) / 2 ** 32
  const word = (): string => ['export', 'function', 'return', 'const', 'value', 'length', 'import', 'options'][Math.floor(next() * 8)] ?? '' // prettier-ignore
  const name = (): string => Math.floor(next() * 1e6).toString(36)
  let made = '// SPDX-License-Identifier: MIT\n'
  while (made.length < size) made += `  ${word()} ${name()}.${word()} = ${name()}(${word()}.${name()}, ${name()})\n`
  return Buffer.from(made.slice(0, size))
}

const anyContents = fc.record({ seed: fc.nat(1e6), size: fc.integer({ min: 4096, max: 60_000 }), text: fc.boolean() })
const anyEdits = fc.array(
  fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(40), put: fc.uint8Array({ maxLength: 40 }) }),
  { maxLength: 6 },
)

describe('withSimilar()', () => {
  test('finds what a file was made from by few edits among many others, and nothing for what is unlike all', () => {
    const others = Array.from({ length: 40 }, (_, i) => contentsOf(i, 4096 + ((i * 7919) % 50_000), i % 2 === 0))
    const sketches = new Map(others.map((bytes, i) => [`old ${i}`, sketchOf(bytes) ?? new Int32Array()]))
    fc.assert(
      fc.property(anyContents, anyEdits, ({ seed, size, text }, edits) => {
        const before = contentsOf(1000 + seed, size, text)
        let edited: Buffer = before
        for (const { at, cut, put } of edits) {
          const place = Math.floor(at * edited.length)
          edited = Buffer.concat([edited.subarray(0, place), put, edited.subarray(place + cut)])
        }
        fc.pre(edited.length >= 4096)
        const find = finderOf(new Map([...sketches, ['before', sketchOf(before) ?? new Int32Array()]]))
        const common = new Map([['edited', find(edited)], ['unlike', find(contentsOf(-seed, size, false))]]) // prettier-ignore
        const steps = [{ entry: named('edited', edited.length) }, { entry: named('unlike', size) }]
        const old = [...others.map((bytes, i) => named(`old ${i}`, bytes.length)), named('before', size)]
        const plan = withSimilar(planOf(...steps), [{ id: 'h', tree: { entries: old } }], common)
        expect(referencesOf(plan)).toEqual(['before', undefined])
      }),
      { numRuns: 500 },
    )
  })

  const found = (common: Record<string, number>, told?: string, entry = named('new')): string | undefined =>
    referencesOf(
      withSimilar(
        planOf({ entry, ...(told === undefined ? {} : { reference: placed(told) }) }),
        held('c', 'b', 'a'),
        new Map([[entry.sha256, new Map(Object.entries(common))]]),
      ),
    )[0]

  test.each<[string, Record<string, number>, string | undefined, string | undefined]>([
    ['what has most in common', { a: 9, b: 12, c: 3 }, undefined, 'b'],
    ['of equal ones the first of the host', { a: 9, b: 9 }, undefined, 'b'],
    ['what the name told, where it has half as much in common', { a: 26, c: 8 }, 'c', 'c'],
    ['what has more than twice as much in common as what the name told', { a: 25, c: 7 }, 'c', 'a'],
    ['what the name told, where nothing has much in common', { a: 10 }, 'other', 'other'],
    ['what has much in common where what the name told has nothing', { a: 11 }, 'other', 'a'],
    ['nothing that has little in common', { a: 5 }, undefined, undefined],
    ['nothing that is no longer there', { gone: 32 }, undefined, undefined],
  ])('takes %s', (_, common, told, expected) => {
    expect(found(common, told)).toBe(expected)
  })

  test('takes what is of another size for less alike', () => {
    const sized = (common: Record<string, number>): string | undefined =>
      referencesOf(
        withSimilar(
          planOf({ entry: named('new', 10_000) }),
          [{ id: 'h', tree: { entries: [named('large', 40_000), named('equal', 9000)] } }],
          new Map([['new', new Map(Object.entries(common))]]),
        ),
      )[0]
    expect(sized({ large: 32, equal: 9 })).toBe('equal')
    expect(sized({ large: 32, equal: 8 })).toBe('large')
    expect(sized({ large: 10 })).toBeUndefined()
  })

  test('is the same in whatever order is told what is in common', () => {
    const plan = planOf({ entry: named('new') }, { entry: named('more') })
    const counts = [['a', 9], ['b', 9], ['c', 3]] as const // prettier-ignore
    const common: Common = new Map([['new', new Map(counts)], ['more', new Map(counts.slice(1))]]) // prettier-ignore
    const turned: Common = new Map([...common].toReversed().map(([of, each]) => [of, new Map([...each].toReversed())]))
    expect(withSimilar(plan, held('a', 'b', 'c'), turned)).toEqual(withSimilar(plan, held('a', 'b', 'c'), common))
  })

  test('leaves to the name what stands at its path, and what has no sketch', () => {
    const same = planOf({ entry: named('new'), reference: placed('new') }, { entry: named('small', 4095) })
    expect(filesToSketch(same)).toEqual([])
    expect(found({ a: 32 }, 'new')).toBe('new')
  })
})

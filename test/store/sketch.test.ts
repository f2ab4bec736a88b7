// finderOf: hashes of a few places of old contents are found at whatever place they stand in new ones, and hardly any by accident.
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { SKETCHED, finderOf, sketchOf } from '../../src/store/sketch.ts'

describe('finderOf()', () => {
  const found = (old: Record<string, Buffer>, contents: Uint8Array): Record<string, number> =>
    Object.fromEntries(
      finderOf(new Map(Object.entries(old).map(([name, bytes]) => [name, sketchOf(bytes) ?? new Int32Array()])))(
        contents,
      ),
    )
  const noise = (seed: number, size = 9000): Buffer =>
    Buffer.concat(Array.from({ length: Math.ceil(size / 32) }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest())).subarray(0, size) // prettier-ignore

  test('finds all of the same contents, wherever they stand, and none of others', () => {
    const [one, other] = [noise(1), noise(2)]
    expect(found({ one, other }, one)).toEqual({ one: 32 })
    expect(found({ one, other }, Buffer.concat([noise(3, 777), one, other]))).toEqual({ one: 32, other: 32 })
    expect(found({ one, other }, one.subarray(4500))).toEqual({ one: 16 })
    expect(found({ one, other }, noise(3))).toEqual({})
  })

  test('counts what comes again and again once, and what all have not at all', () => {
    expect(found({ zeros: Buffer.alloc(9000) }, Buffer.alloc(5000))).toEqual({ zeros: 1 })
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`old ${i}`, noise(1)]))
    expect(found(many, noise(1))).toEqual({})
  })

  test('looks at the beginning of long contents alone, and at none that are short', () => {
    const long = noise(1, SKETCHED)
    expect(sketchOf(Buffer.concat([long, noise(2)]))).toEqual(sketchOf(long))
    expect(found({ two: noise(2) }, Buffer.concat([long, noise(2)]))).toEqual({})
    expect(sketchOf(noise(1, 4095))).toBeUndefined()
  })
})

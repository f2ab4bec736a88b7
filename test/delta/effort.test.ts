// toolFor(): what makes a delta arrive soonest, by the link.
import { expect, test } from 'vitest'
import { levelAfter, speedOf, steady, toolFor, type Codec } from '../../src/delta/effort.ts'

const codecs: readonly Codec[] = ['zstd', 'xz']
const MEGABIT = 125_000

test.each([
  ['a slow link gets what is smallest', 1, 100e6, codecs, { codec: 'xz', level: 9 }],
  ['a fast link gets what is quick', 1000, 100e6, codecs, { codec: 'zstd', level: 1 }],
  ['100 Mbit/s are not held up for a few percent', 100, 100e6, codecs, { codec: 'zstd', level: 9 }],
  ['on no link does little take long', 1000, 100e3, codecs, { codec: 'zstd', level: 19 }],
  ['a host with gzip alone gets gzip', 1, 100e6, ['gzip'] as const, { codec: 'gzip', level: 9 }],
  ['a host with nothing gets what there is', 1, 100e6, [] as const, { codec: 'none', level: 0 }],
])('%s', (_, megabits, bytes, able, tool) => {
  expect(toolFor(bytes, { bytesPerSecond: megabits * MEGABIT, cores: 2 }, able)).toEqual(tool)
})

test('a machine of a tenth of the speed takes what is quicker', () => {
  const slow = 2 * (speedOf({ codec: 'zstd', level: 9 }, 2.9e6) ?? 0)
  expect(slow).toBeCloseTo(0.2)
  expect(toolFor(100e6, { bytesPerSecond: 100 * MEGABIT, cores: slow }, codecs)).toEqual({ codec: 'zstd', level: 1 })
})

test('the slower the link, the fewer bytes are made of the same', () => {
  const levels = [1000, 100, 10, 1].map((megabits) =>
    levelAfter({ bytes: 50e6, first: 1e6, packed: 5e6 }, { bytesPerSecond: megabits * MEGABIT, cores: 2 }),
  )
  expect(levels).toEqual(levels.toSorted((a, b) => a - b))
  expect(new Set(levels).size).toBeGreaterThan(1)
})

test('what is thrifty is for a link no faster than was said', () => {
  const pace = steady(100 * MEGABIT, 2, MEGABIT)
  expect(pace.tool(100e6, codecs, true)).toEqual({ codec: 'xz', level: 9 })
  expect(pace.tool(100e6, codecs, false)).toEqual(pace.tool(100e6, codecs))
  expect(pace.tool(100e6, codecs)).not.toEqual({ codec: 'xz', level: 9 })
})

// frameAfter: what xz and BusyBox's unxz decode behind chunks of the old bytes is the new ones.
import { execFileSync } from 'node:child_process'
import { assert, property } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HEAD, frameAfter } from '../../src/delta/lzma.ts'
import { noise, rebuilt } from './patches.ts'

/** The stream as the host puts it together. */
function streamOf(before: Uint8Array, frame: Buffer): Buffer {
  const parts: Uint8Array[] = [frame.subarray(0, HEAD)]
  for (let at = 0; at < before.length; at += 65_536) {
    const chunk = before.subarray(at, at + 65_536)
    parts.push(Buffer.from([at === 0 ? 1 : 2, (chunk.length - 1) >> 8, chunk.length - 1]), chunk)
  }
  return Buffer.concat([...parts, frame.subarray(HEAD)])
}

describe.each([
  ['xz', ['-dc']],
  ['busybox', ['unxz', '-c']],
] as const)('frameAfter() by %s', (tool, args) => {
  const decoded = (before: Uint8Array, now: Uint8Array): { size: number; same: boolean } => {
    const frame = Buffer.concat([...frameAfter(before, now)])
    const all = execFileSync(tool, args, { input: streamOf(before, frame), maxBuffer: 1 << 28 })
    return { size: frame.length, same: all.equals(Buffer.concat([before, now])) }
  }

  test('gives the new bytes', () => {
    assert(
      property(rebuilt, ({ old, now }) => {
        expect(decoded(old, now).same).toBe(true)
      }),
      { numRuns: 20 },
    )
  })

  test.each([
    ['nothing after nothing', new Uint8Array(), new Uint8Array(), 80],
    ['bytes after nothing', new Uint8Array(), Buffer.from('bytes'), 80],
    ['a byte after a byte', Buffer.from('a'), Buffer.from('b'), 80],
    ['noise', noise(100_000, 1), noise(300_000, 2), 320_000],
    ['the same', noise(3_000_000, 1), noise(3_000_000, 1), 3_000],
    ['zeros', new Uint8Array(5_000_000), new Uint8Array(5_000_001), 3_000],
    ['text after other text', Buffer.from(textOf(1)), Buffer.from(textOf(2)), 200_000],
  ])('says %s', (_, before, now, most) => {
    const { size, same } = decoded(before, now)
    expect(same).toBe(true)
    expect(size).toBeLessThan(most)
  })
})

function textOf(round: number): string {
  return Array.from({ length: 60_000 }, (_, i) => `${(i * 7919) % 1_000_003} ${i % 10 === 0 ? i * round : 0}\n`).join(
    '',
  )
}

// withoutLosses: what BusyBox tar cannot restore is refused by name, or given up where that was allowed.
import { describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry, Metadata } from '../../src/model/entry.ts'
import { makeTree, type Tree } from '../../src/model/tree.ts'
import { LOSSES, withoutLosses, type Loss } from '../../src/plan/loss.ts'

const SECOND = 10n ** 9n
const xattrs = [{ name: byteString('user.a'), value: byteString('1') }]

/** The root, and a file below it for each of these. */
function treeOf(...files: Partial<Metadata>[]): Tree {
  const plain = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }
  const made = files.map((given, i): Entry => {
    const path = byteString(`f${i}`)
    return { kind: 'file', path, ...plain, ...given, size: 0, sha256: '0'.repeat(64), first: path }
  })
  return makeTree([{ kind: 'directory', path: byteString(''), ...plain, mode: 0o755 }, ...made])
}
const lossless = (tree: Tree, ...allowed: Loss[]): Tree => withoutLosses(tree, new Set(allowed))

test('withoutLosses() leaves alone what BusyBox tar restores', () => {
  const tree = treeOf({ mode: 0o4755, uid: 262143, gid: 262143 }, { mtimeNs: 1_700_000_000n * SECOND })
  expect(lossless(tree)).toEqual(tree)
  expect(lossless(tree, ...LOSSES)).toEqual(tree)
})

describe('withoutLosses() refuses', () => {
  const xattrsHint = 'install GNU tar on the host, or give them up with --allow-loss xattrs'
  const mtimesHint = 'install GNU tar on the host, or give them up with --allow-loss mtimes'
  test.each<[string, Partial<Metadata>, Loss[], string]>([
    ['an owner above 262143', { uid: 262144 }, [...LOSSES], 'install GNU tar on the host'],
    ['a group above 262143', { gid: 262144 }, [...LOSSES], 'install GNU tar on the host'],
    ['attributes', { xattrs }, ['mtimes'], xattrsHint],
    ['a part of a second', { mtimeNs: SECOND + 1n }, ['xattrs'], mtimesHint],
    ['a time before 1970', { mtimeNs: -SECOND }, ['xattrs'], mtimesHint],
    ['a time after 2038', { mtimeNs: 0x80000000n * SECOND }, ['xattrs'], mtimesHint],
  ])('%s', (_, given, allowed, hint) => {
    expect(() => lossless(treeOf({}, given), ...allowed)).toThrow(expect.objectContaining({ code: 'E_LOSS', hint }))
  })

  test('by at most five names', () => {
    expect(() => lossless(treeOf(...Array.from({ length: 7 }, () => ({ xattrs }))))).toThrow(
      `cannot restore extended attributes on the host, whose tar is BusyBox's: "f0", "f1", "f2", "f3", "f4" and 2 more`,
    )
  })
})

describe('withoutLosses() gives up', () => {
  const after = (given: Partial<Metadata>): Entry | undefined => lossless(treeOf(given), ...LOSSES).entries[1]
  test('attributes', () => expect(after({ xattrs })?.xattrs).toEqual([]))
  test.each([
    [1_500_000_000n, SECOND],
    [-1n, 0n],
    [0x80000000n * SECOND, 0x7fffffffn * SECOND],
  ])('of the time %i all but %i', (before, kept) => expect(after({ mtimeNs: before })?.mtimeNs).toBe(kept))
})

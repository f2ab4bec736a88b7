// Policies for times: what they move, what they leave, and what is no policy.
import { expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { makeTree } from '../../src/model/tree.ts'
import { parseMtimePolicy, withMtimes } from '../../src/plan/mtimes.ts'

const at = (path: string, mtimeNs: bigint): Entry => ({
  kind: 'fifo',
  path: byteString(path),
  mode: 0o600,
  uid: 0,
  gid: 0,
  mtimeNs,
  xattrs: [],
  major: 0,
  minor: 0,
})
const root: Entry = { ...at('', 5n), kind: 'directory' }
const tree = makeTree([root, at('late', 9_000_000_000n), at('early', -1n)])
const times = (policy: string, epoch?: string): bigint[] =>
  withMtimes(tree, parseMtimePolicy(policy, epoch)).entries.map((entry) => entry.mtimeNs)

test('withMtimes() keeps, clamps what is later, or makes all 1970', () => {
  expect(times('keep')).toEqual([5n, -1n, 9_000_000_000n])
  expect(times('clamp=2')).toEqual([5n, -1n, 2_000_000_000n])
  expect(times('clamp', '0')).toEqual([0n, -1n, 0n])
  expect(times('zero')).toEqual([0n, 0n, 0n])
})

test('withMtimes() gives the tree itself where nothing moves', () => {
  expect(withMtimes(tree, parseMtimePolicy('clamp=10', undefined))).toBe(tree)
})

test.each(['', 'touch', 'clamp=', 'clamp=x', 'clamp=-1', 'clamp=1.5', 'clamp=999999999999'])(
  'parseMtimePolicy() refuses "%s"',
  (text) => {
    expect(() => parseMtimePolicy(text, undefined)).toThrow(expect.objectContaining({ code: 'E_USAGE' }))
  },
)

test('parseMtimePolicy() takes SOURCE_DATE_EPOCH for clamp alone, and says where it is not set', () => {
  expect(parseMtimePolicy('clamp', '7')).toEqual({ kind: 'clamp', epochNs: 7_000_000_000n })
  expect(() => parseMtimePolicy('clamp', undefined)).toThrow('SOURCE_DATE_EPOCH is not set')
  expect(() => parseMtimePolicy('clamp', 'now')).toThrow('"now"')
})

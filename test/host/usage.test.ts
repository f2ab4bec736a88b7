// The records of usage as a host may send them: what is read, and what is refused.
import { expect, test } from 'vitest'
import { readUsage } from '../../src/host/usage.ts'

const ID = 'a'.repeat(64)
const read = (...lines: string[]): ReturnType<typeof readUsage> => readUsage(lines.map((line) => line.split(' ')))

test('readUsage() reads each kind of record', () => {
  const used = read(`tree 1 ${ID} 4 100 4096`, 'tree 2 - 1 0 0', 'held 1 0 1 4096', 'held 2 1 2 0', 'own app 1 2', 'seen app 3 5 6', 'running app 9', 'running app 3', 'other 7') // prettier-ignore
  expect(used.trees).toEqual([
    { id: ID, entries: 4, contentBytes: 100, diskBytes: 4096 },
    { id: undefined, entries: 1, contentBytes: 0, diskBytes: 0 },
  ])
  expect(used.held).toEqual([
    { parent: 0, tree: 1, diskBytes: 4096 },
    { parent: 1, tree: 2, diskBytes: 0 },
  ])
  expect([...used.own, ...used.seen, ...used.running]).toEqual([
    ['app', { writable: 1, bundles: 2 }],
    ['app 3', { entries: 5, bytes: 6 }],
    ['app', [3, 9]],
  ])
  expect(used.otherBytes).toBe(7)
})

test.each([
  ['an unknown kind', ['bogus 1']],
  ['a tree out of order', [`tree 2 ${ID} 1 1 1`]],
  ['a tree that is none', ['tree 1 etc 1 1 1']],
  ['a set of a tree that is none', [`tree 1 ${ID} 1 1 1`, 'held 1 0 2 1']],
  ['a set before its parent', [`tree 1 ${ID} 1 1 1`, 'held 1 1 1 1']],
  ['a set out of order', [`tree 1 ${ID} 1 1 1`, 'held 2 0 1 1']],
  ['less than nothing', ['other -4']],
  ['a name that is none', ['own ../etc 1 1']],
])('readUsage() refuses %s', (_, lines) => {
  expect(() => read(...lines)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^E_(PROTO|NAME)$/) as string })) // prettier-ignore
})

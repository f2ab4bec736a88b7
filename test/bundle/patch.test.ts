// Merge patches: the cases of RFC 7396, appendix A, whose patches are objects.
import { expect, test } from 'vitest'
import type { Json, JsonObject } from '../../src/bundle/document.ts'
import { leavesOf, mergePatch } from '../../src/bundle/patch.ts'

test.each<[Json, JsonObject, Json]>([
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: 'b', c: null }, { a: 'b' }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
])('mergePatch() of %j with %j is %j', (target, patch, expected) => {
  expect(mergePatch(target, patch)).toEqual(expected)
})

test('mergePatch() makes a key of "__proto__"', () => {
  const merged = mergePatch({}, JSON.parse('{"__proto__":{"polluted":1}}') as JsonObject)
  expect(Object.keys(merged)).toEqual(['__proto__'])
  expect(({} as { polluted?: number }).polluted).toBeUndefined()
})

test('leavesOf() names all that a patch sets or takes out', () => {
  expect(leavesOf({ a: { b: 1, c: null, d: { e: [{}] } }, f: {}, g: 'x' })).toEqual([['a', 'b'], ['a', 'c'], ['a', 'd', 'e'], ['f'], ['g']]) // prettier-ignore
})

// Lists of differences: each is named so that a person finds it, and nothing that differs is left out.
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { differences } from '../../src/bundle/differences.ts'
import type { Json } from '../../src/bundle/document.ts'

test.each<[string, Json, Json, object[]]>([
  ['nothing', { a: [1, { b: 2 }] }, { a: [1, { b: 2 }] }, []],
  ['a value', { a: { b: 1 } }, { a: { b: 2 } }, [{ path: 'a.b', was: 1, now: 2 }]],
  ['what comes and goes', { a: 1 }, { b: 2 }, [{ path: 'a', was: 1, now: undefined }, { path: 'b', was: undefined, now: 2 }]],
  ['null', { a: 1 }, { a: null }, [{ path: 'a', was: 1, now: null }]],
  ['a mount by its place', { m: [{ destination: '/a', source: 'x' }, { destination: '/b' }] }, { m: [{ destination: '/a', source: 'y' }] }, [{ path: 'm[/a].source', was: 'x', now: 'y' }, { path: 'm[/b]', was: { destination: '/b' }, now: undefined }]],
  ['a namespace by its type', [{ type: 'pid' }], [{ type: 'pid', path: '/x' }], [{ path: '[pid].path', was: undefined, now: '/x' }]],
  ['items of a list', ['a', 'b', 'c'], ['c', 'd', 'a'], [{ path: '', was: ['b'], now: ['d'] }]],
  ['an order', ['a', 'b'], ['b', 'a'], [{ path: '', was: ['a', 'b'], now: ['b', 'a'] }]],
  ['an order of names', [{ type: 'a' }, { type: 'b' }], [{ type: 'b' }, { type: 'a' }], [{ path: '', was: [{ type: 'a' }, { type: 'b' }], now: [{ type: 'b' }, { type: 'a' }] }]],
  ['a name that is there twice', [{ type: 'a' }, { type: 'a' }], [{ type: 'a' }], [{ path: '', was: [{ type: 'a' }, { type: 'a' }], now: [{ type: 'a' }] }]],
  ['a large number', { a: 18446744073709551615n }, { a: 1 }, [{ path: 'a', was: 18446744073709551615n, now: 1 }]],
  ['an odd key', { a: { 'x.y': 1 } }, { a: {} }, [{ path: 'a."x.y"', was: 1, now: undefined }]],
])('differences() tells %s', (_, was, now, expected) => {
  expect(differences(was, now)).toEqual(expected)
}) // prettier-ignore

test('differences() is empty just where the values are equal', () => {
  const leaf = fc.constantFrom<Json>(0, 1, 'a', null, [])
  const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      // keys in one order, which says nothing
      fc.record({ a: tie('tree'), destination: leaf, type: leaf }, { requiredKeys: [] }) as fc.Arbitrary<Json>,
    ),
  }))
  fc.assert(
    fc.property(tree, tree, (was, now) => {
      expect(differences(was, now).length === 0).toBe(JSON.stringify(was) === JSON.stringify(now))
    }),
    { numRuns: 2000 },
  )
})

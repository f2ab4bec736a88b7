// Whose inodes are whose: sums over sets of trees, and what would be taken if nothing were shared.
import { expect, test } from 'vitest'
import { sharing, type Held, type Needs, type Usage } from '../../src/model/usage.ts'

const needs = (name: string, current: string[], older: string[] = [], bytes?: number): Needs => ({
  name,
  current,
  all: new Set([...current, ...older]),
  seen: bytes === undefined ? undefined : { entries: 1, bytes },
})
const tree = (id: string | undefined, diskBytes: number): Usage['trees'][number] => ({
  id,
  entries: 1,
  contentBytes: diskBytes - 1,
  diskBytes,
})
const held = (...sets: [parent: number, tree: number, diskBytes: number][]): Held[] =>
  sets.map(([parent, of, diskBytes]) => ({ parent, tree: of, diskBytes }))

/** base (1) is below both; old (2) shares 20 with base; bad (3) was set aside; gone (4) is of no generation. */
const usage: Usage = {
  trees: [tree('base', 100), tree('old', 50), tree(undefined, 7), tree('gone', 30), tree('top', 10)],
  held: held([0, 1, 70], [1, 2, 20], [1, 4, 10], [0, 2, 30], [0, 3, 7], [0, 4, 20], [0, 5, 10]),
  own: new Map([
    ['app', { writable: 3, bundles: 4 }],
    ['web', { writable: 0, bundles: 1 }],
  ]),
  otherBytes: 9,
}

test('sharing() tells what a container shares, with whom, and what goes with it', () => {
  const { containers } = sharing(usage, [needs('app', ['base', 'top'], ['old']), needs('web', ['base'])])
  expect(containers).toMatchObject([
    {
      name: 'app',
      disk: { size: 110, shared: 100, older: 30, writable: 7, alone: 47, flattened: 110 },
      sharedWith: [{ container: 'web', layers: 1, bytes: 100 }],
    },
    {
      name: 'web',
      disk: { size: 100, shared: 100, older: 0, writable: 1, alone: 1, flattened: 100 },
      sharedWith: [{ container: 'app', layers: 1, bytes: 100 }],
    },
  ])
})

test('sharing() counts each inode of the store once', () => {
  const { store } = sharing(usage, [needs('app', ['base', 'top'], ['old']), needs('web', ['base'])])
  expect(store).toEqual({
    current: 110,
    older: 30,
    unused: 27,
    writable: 8,
    other: 9,
    total: 184,
    flattened: 210,
    saved: 210 - 110 - 5,
  })
})

test('sharing() finds what trees share that are not the same tree', () => {
  const { containers } = sharing(usage, [needs('app', ['base']), needs('web', ['old'])])
  expect(containers[1]).toMatchObject({
    disk: { size: 50, shared: 20, alone: 31 },
    sharedWith: [{ container: 'app', layers: 0, bytes: 20 }],
  })
})

test('sharing() leaves out of the flattened size what layers hide', () => {
  const [one] = sharing(usage, [needs('app', ['base', 'top'], [], 99 + 9 - 40)]).containers
  expect(one?.disk.flattened).toBe(110 - 40)
  expect(sharing(usage, [needs('app', ['base', 'top'], [], 99 + 9 - 40)]).store.saved).toBe(110 - 40 - 110 - 5)
})

test('sharing() takes a tree that the host has no more for nothing', () => {
  const [one] = sharing(usage, [needs('app', ['lost', 'top'])]).containers
  expect(one?.disk).toMatchObject({ size: 10, shared: 0, flattened: 10 })
})

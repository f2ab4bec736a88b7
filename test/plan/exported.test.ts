// asBelow: what an export cannot say is taken from the layers below, and nothing else is.
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { flatten, settleLayers } from '../../src/model/stack.ts'
import { makeTree, type Tree } from '../../src/model/tree.ts'
import { asBelow } from '../../src/plan/exported.ts'
import { residual } from '../../src/plan/match.ts'
import { anyLayers, layerOf, type Part } from '../model/layers.ts'

const SECOND = 1_000_000_000n
const note = { name: byteString('user.note'), value: byteString('x') }
const capability = { name: byteString('security.capability'), value: byteString('y') }

const each = (tree: Tree, change: (entry: Entry) => Entry): Tree => makeTree(tree.entries.map(change))
/** With what no export tells; as much of it as the mark of an entry says. */
const rich = (tree: Tree): Tree =>
  each(tree, (entry) => {
    const xattrs = [...(entry.uid % 3 === 0 ? [capability] : []), ...(entry.uid % 4 === 0 ? [note] : [])]
    return { ...entry, mtimeNs: entry.mtimeNs + BigInt(entry.uid) * 111n, xattrs }
  })
/** What is left of a tree in an export. */
const exported = (tree: Tree): Tree =>
  each(tree, (entry) => {
    if (entry.path === '') return { ...entry, mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }
    const mtimeNs = entry.mtimeNs - (((entry.mtimeNs % SECOND) + SECOND) % SECOND)
    return { ...entry, mtimeNs, xattrs: entry.xattrs.filter(({ name }) => name === capability.name) }
  })

test('asBelow() makes of an unchanged export what is below', () => {
  fc.assert(
    fc.property(anyLayers, (layers) => {
      const below = rich(flatten(settleLayers(layers)))
      expect(asBelow(exported(below), below)).toEqual(below)
    }),
  )
})

test('asBelow() changes nothing that an export tells, and what lies over the layers below is the rest', () => {
  fc.assert(
    fc.property(anyLayers, anyLayers, (lower, upper) => {
      const below = rich(flatten(settleLayers(lower)))
      const told = exported(rich(flatten(settleLayers([...lower, ...upper]))))
      const tree = asBelow(told, below)
      expect(exported(tree)).toEqual(exported(told))
      const metadata = new Map<string, Entry>()
      for (const entry of tree.entries) {
        if (entry.kind !== 'file') continue
        const { mtimeNs, xattrs } = metadata.get(entry.first) ?? entry
        expect(entry).toMatchObject({ mtimeNs, xattrs })
        metadata.set(entry.first, entry)
      }
      const over = residual(tree, below)
      expect(over === undefined ? below : flatten([below, over])).toEqual(tree)
    }),
  )
})

const file = (path: string, mark: number, link?: string): Part => ({ put: 'f', path, mark, ...(link === undefined ? {} : { link }) }) // prettier-ignore
const treeOf = (...parts: Part[]): Tree => rich(flatten(settleLayers([layerOf(...parts)])))
const changedOver = (now: Tree, below: Tree): string[] =>
  (residual(asBelow(exported(now), below), below)?.entries ?? []).map(({ path }) => path)

test.each<[string, Part[], Part[], string[]]>([
  ['nothing, where nothing changed', [file('a', 4)], [file('a', 4)], []],
  ['a file with other contents', [file('a', 4), file('b', 4)], [file('a', 5), file('b', 4)], ['', 'a']],
  ['a new name of a file, with all its names', [file('a', 4)], [file('a', 4), file('b', 4, 'a')], ['', 'a', 'b']],
  ['a link that was broken', [file('a', 4), file('b', 4, 'a')], [file('a', 4), file('b', 4)], ['', 'b']],
])('residual() over asBelow() is %s', (_, below, now, paths) => {
  expect(changedOver(treeOf(...now), treeOf(...below))).toEqual(paths)
})

test.each([
  [-1n, -SECOND],
  [-SECOND, -SECOND],
  [SECOND + 1n, SECOND],
])('asBelow() knows that an export says %d as %d', (mtimeNs, told) => {
  const at = (time: bigint): Tree => each(treeOf(file('a', 1)), (entry) => ({ ...entry, mtimeNs: time }))
  expect(asBelow(at(told), at(mtimeNs))).toEqual(at(mtimeNs))
  const other = at(told - SECOND).entries[1]
  expect(asBelow(at(told - SECOND), at(mtimeNs)).entries[1]).toEqual(other)
})

test('asBelow() keeps one time for names that share an inode now, and had two below', () => {
  const timed = (tree: Tree, fractions: readonly bigint[]): Tree => {
    const [root, ...files] = exported(tree).entries
    return makeTree([root!, ...files.map((entry, i) => ({ ...entry, mtimeNs: entry.mtimeNs + (fractions[i] ?? 0n) }))])
  }
  const below = timed(treeOf(file('a', 1), file('b', 1)), [1n, 2n])
  const now = timed(treeOf(file('a', 1), file('b', 1, 'a')), [])
  expect(asBelow(now, below).entries.slice(1)).toEqual(now.entries.slice(1))
  const half = timed(treeOf(file('a', 1)), [1n])
  expect(asBelow(now, half).entries.slice(1)).toEqual(now.entries.slice(1))
})

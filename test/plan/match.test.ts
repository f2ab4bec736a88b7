// matchStack and residual: a flat tree over known layers is the tree again, by law, by cases, and as the kernel mounts it.
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { isWhiteout, renameGroups } from '../../src/model/layer.ts'
import { flatten, settleLayers } from '../../src/model/stack.ts'
import { makeTree, type Tree } from '../../src/model/tree.ts'
import { matchStack, residual, type Candidate } from '../../src/plan/match.ts'
import { anyLayers, layerOf, type Part } from '../model/layers.ts'
import { startMounts, type Mounts } from '../model/mounted.ts'

const d = (path: string, mark = 1): Part => ({ put: 'd', path, mark })
const f = (path: string, mark = 1, link?: string): Part => ({ put: 'f', path, mark, ...(link === undefined ? {} : { link }) }) // prettier-ignore
const seen = (...layers: Part[][]): Tree => flatten(settleLayers(layers.map((parts) => layerOf(...parts))))

type Edit = { readonly how: 'mode' | 'time' | 'note' | 'contents' | 'split' | 'join' | 'gone'; readonly at: number; readonly to: number } // prettier-ignore
const edit = fc.record({
  how: fc.constantFrom(...(['mode', 'time', 'note', 'contents', 'split', 'join', 'gone'] as const)),
  at: fc.nat(),
  to: fc.nat(),
})

/** What no layer over another can say, such as two names that no longer share a file. */
function edited(tree: Tree, { how, at, to }: Edit): Tree {
  const files = tree.entries.filter((entry) => entry.kind === 'file')
  const [file, other] = [files[at % files.length], files[to % files.length]]
  const chosen = tree.entries[at % tree.entries.length]
  if (chosen === undefined) return tree
  const same = (entry: Entry): boolean =>
    entry.path === chosen.path || (entry.kind === 'file' && chosen.kind === 'file' && entry.first === chosen.first)
  const change = (to: (entry: Entry) => Entry): Entry[] =>
    tree.entries.map((entry) => (same(entry) ? to(entry) : entry))
  const entries = (): readonly Entry[] => {
    switch (how) {
      case 'mode':
        return chosen.kind === 'symlink' ? tree.entries : change((entry) => ({ ...entry, mode: entry.mode ^ 0o070 }))
      case 'time':
        return change((entry) => ({ ...entry, mtimeNs: entry.mtimeNs + 10n ** 9n }))
      case 'note': {
        if (chosen.kind !== 'file' && chosen.kind !== 'directory') return tree.entries
        const note = { name: byteString('user.note'), value: byteString('other') }
        return change((entry) => ({ ...entry, xattrs: entry.xattrs.length > 0 ? [] : [note] }))
      }
      case 'contents':
        return change((entry) => (entry.kind === 'file' && other ? { ...entry, sha256: other.sha256, size: other.size } : entry)) // prettier-ignore
      case 'split':
        return tree.entries.map((entry) => (entry === file ? { ...file, first: byteString('own') } : entry))
      case 'join':
        return tree.entries.map((entry) => (entry === file && other ? { ...other, path: file.path } : entry))
      case 'gone':
        return tree.entries.filter(({ path }) => chosen.path === '' || (path !== chosen.path && !path.startsWith(`${chosen.path}/`))) // prettier-ignore
    }
  }
  return makeTree(renameGroups(entries()))
}

/** A stack, and a tree that is derived from what is seen of it, by layers over it and by edits. */
const derived = fc.tuple(anyLayers, anyLayers, fc.array(edit, { maxLength: 3 })).map(([layers, over, edits]) => {
  const stack = settleLayers(layers)
  return { stack, target: edits.reduce(edited, flatten(settleLayers([...layers, ...over.slice(0, 2)]))) }
})
const unrelated = fc
  .tuple(anyLayers, anyLayers)
  .map(([layers, others]) => ({ stack: settleLayers(layers), target: flatten(settleLayers(others)) }))

function over(stack: readonly Tree[], layer: Tree | undefined): Tree[] {
  return layer === undefined ? [...stack] : [...stack, layer]
}

describe('residual()', () => {
  test.each([
    ['derived from it', derived],
    ['unrelated to it', unrelated],
  ])('over a stack is a target that is %s', (_, pairs) => {
    fc.assert(
      fc.property(pairs, ({ stack, target }) => {
        expect(flatten(over(stack, residual(target, flatten(stack))))).toEqual(target)
      }),
      { numRuns: 1500 },
    )
  })

  test('is nothing over what is the target already, and no more than what differs and what is above it', () => {
    fc.assert(
      fc.property(derived, ({ stack, target }) => {
        const below = flatten(stack)
        expect(residual(below, below)).toBeUndefined()
        const layer = residual(target, below)
        if (JSON.stringify(plain(target)) === JSON.stringify(plain(below))) expect(layer).toBeUndefined()
        for (const { path } of layer?.entries ?? []) {
          const group = (layer?.entries ?? []).filter((entry) => entry.path.startsWith(path === '' ? '' : `${path}/`))
          const old = below.entries.find((entry) => entry.path === path)
          const now = target.entries.find((entry) => entry.path === path)
          const differs = JSON.stringify(plain({ entries: [old!] })) !== JSON.stringify(plain({ entries: [now!] }))
          expect(differs || now?.kind === 'file' || group.length > (path === '' ? 1 : 0)).toBe(true)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('hides only what is there to be hidden', () => {
    fc.assert(
      fc.property(derived, ({ stack, target }) => {
        const below = new Set(flatten(stack).entries.map(({ path }) => path))
        const hidden = residual(target, flatten(stack))?.entries.filter(isWhiteout) ?? []
        expect(hidden.filter(({ path }) => !below.has(path))).toEqual([])
      }),
    )
  })

  describe('is what the kernel mounts over the stack', () => {
    let mounts: Mounts
    beforeAll(async () => void (mounts = await startMounts()))
    afterAll(() => mounts[Symbol.dispose]())
    test.each([
      ['derived', derived],
      ['unrelated', unrelated],
    ])('for a target that is %s', async (_, pairs) => {
      await fc.assert(
        fc.asyncProperty(pairs, async ({ stack, target }) => {
          expect(await mounts.show(over(stack, residual(target, flatten(stack))))).toEqual(target)
        }),
        { numRuns: 40 },
      )
    })
  })
})

function plain(tree: { readonly entries: readonly (Entry | undefined)[] }): unknown[] {
  return tree.entries.map((entry) => (entry === undefined ? null : { ...entry, mtimeNs: `${entry.mtimeNs}` }))
}

describe('matchStack()', () => {
  const base: Part[] = [d('etc'), f('etc/a'), f('etc/b', 2), d('usr', 2), f('usr/x', 3), f('usr/y', 4)]
  const app: Part[] = [d('app'), f('app/1', 5), f('app/2', 6)]
  const candidate = (name: string, ...layers: Part[][]): Candidate => ({
    stack: layers.map((_, i) => `${name}${i}`),
    flat: seen(...layers),
  })

  test.each<[string, Tree, Candidate[], string | undefined, string[]]>([
    ['nothing for a tree that no stack resembles', seen([f('a', 7), f('b', 8)]), [candidate('base', base)], undefined, []],
    ['nothing where there is no stack', seen(base), [], undefined, []],
    ['the stack that is the tree', seen(base, app), [candidate('base', base), candidate('app', base, app)], 'app0,app1', []],
    ['the stack with least over it', seen(base, app, [f('app/1', 7)]), [candidate('base', base), candidate('app', base, app)], 'app0,app1', ['', 'app', 'app/1']],
    ['the shorter of two that spare the same', seen(base, app), [candidate('long', base, app, [d('app')]), candidate('app', base, app)], 'app0,app1', []],
    ['the first of two that are equal', seen(base), [candidate('one', base), candidate('two', base)], 'one0', []],
    ['the shorter where the longer spares next to nothing', seen(base, app, [f('etc/a', 8)]), [candidate('base', base), candidate('near', base, [f('other'), d('app')])], 'base0', ['', 'app', 'app/1', 'app/2', 'etc', 'etc/a']],
    ['the container\'s own base without its last change', seen(base, [f('etc/a', 8)]), [candidate('own', base), candidate('old', base, [f('etc/a', 7)])], 'own0', ['', 'etc', 'etc/a']],
    ['a base of which half is gone', seen([d('etc'), f('etc/a')]), [candidate('base', base)], 'base0', ['', 'etc', 'etc/b', 'usr']],
  ])('finds %s', (_, target, candidates, stack, paths) => {
    const match = matchStack(target, candidates)
    expect(match?.stack.join(',')).toBe(stack)
    expect(match?.residual?.entries.map(({ path }): string => path) ?? []).toEqual(paths)
  }) // prettier-ignore

  test('keeps the law whatever it finds', () => {
    let found = 0
    fc.assert(
      fc.property(derived, fc.array(anyLayers, { maxLength: 3 }), ({ stack, target }, others) => {
        const stacks = [stack, stack.slice(0, 1), ...others.map((layers) => settleLayers(layers))]
        const match = matchStack(target, stacks.map((layers, i) => ({ stack: layers.map((__, depth) => `${i}.${depth}`), flat: flatten(layers) }))) // prettier-ignore
        if (match === undefined) return
        found++
        const below = match.stack.map((id) => stacks[Number(id.split('.')[0])]![Number(id.split('.')[1])]!)
        expect(flatten(over(below, match.residual))).toEqual(target)
      }),
      { numRuns: 500 },
    )
    expect(found).toBeGreaterThan(100)
  })
})

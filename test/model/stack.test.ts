// flatten and settleLayers: what a container sees of layers, by cases, by law, and as the kernel's overlayfs has it.
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { byteString, type ByteString } from '../../src/model/bytes.ts'
import { parentOf, type Entry } from '../../src/model/entry.ts'
import { isOpaque, isWhiteout, withoutMark } from '../../src/model/layer.ts'
import { flatten, settleLayers, withoutRepeats } from '../../src/model/stack.ts'
import type { Tree } from '../../src/model/tree.ts'
import { treeId } from '../../src/store/hash.ts'
import { anyLayers, layerOf, type Part } from './layers.ts'
import { startMounts, type Mounts } from './mounted.ts'

const d = (path: string, mark = 1): Part => ({ put: 'd', path, mark })
const f = (path: string, mark = 1, link?: string): Part => ({ put: 'f', path, mark, ...(link === undefined ? {} : { link }) }) // prettier-ignore
const s = (path: string, mark = 1): Part => ({ put: 's', path, mark })
const hide = (path: string): Part => ({ put: 'whiteout', path })
const opaque = (path: string): Part => ({ put: 'opaque', path })
const link = (path: string, to: string): Part => ({ put: 'link', path, to })

/** A line an entry: kind, path, owner, and with which it shares an inode; `-` for a whiteout, `!` for an opaque directory. */
function shown(tree: Tree): string[] {
  return tree.entries.slice(1).map((entry) => {
    if (isWhiteout(entry)) return `- ${entry.path}`
    const same = entry.kind === 'file' && entry.first !== entry.path ? ` = ${entry.first}` : ''
    return `${entry.kind[0]} ${entry.path}${isOpaque(entry) ? '!' : ''} ${entry.uid}${same}`
  })
}
const settled = (...layers: Part[][]): Tree[] => settleLayers(layers.map((parts) => layerOf(...parts)))
const seen = (...layers: Part[][]): string[] => shown(flatten(settled(...layers)))

describe('flatten() shows', () => {
  test.each<[string, Part[][], string[]]>([
    ['one layer as it is', [[d('a'), f('a/f'), s('s')]], ['d a 1', 'f a/f 1', 's s 1']],
    ['the directory of the highest layer', [[d('a'), f('a/f')], [d('a', 2)]], ['d a 2', 'f a/f 1']],
    ['what a layer below says of a directory that none names', [[d('a', 3)], [f('a/f')]], ['d a 3', 'f a/f 1']],
    ['nothing of what a whiteout names', [[d('a'), f('a/f'), f('g')], [hide('a')]], ['f g 1']],
    ['a directory made again without what it held', [[d('a'), f('a/f')], [hide('a')], [d('a', 2), f('a/g')]], ['d a 2', 'f a/g 1']],
    ['the same where one layer does both', [[d('a'), f('a/f')], [hide('a'), d('a', 2), f('a/g')]], ['d a 2', 'f a/g 1']],
    ['of an opaque directory only its own', [[d('a'), f('a/f'), d('a/d'), f('a/d/f')], [opaque('a'), f('a/g', 2)]], ['d a 1', 'f a/g 2']],
    ['of an opaque root only its own', [[d('a'), f('a/f'), f('f')], [opaque(''), d('a', 2)]], ['d a 2']],
    ['a file in place of a directory, and back', [[d('a'), f('a/f')], [f('a', 2)], [d('a', 3)]], ['d a 3']],
    ['a name that begins like a directory', [[d('a'), f('a/f'), f('a.b')], [hide('a')]], ['f a.b 1']],
    ['hard links of a layer', [[f('b'), f('a', 1, 'b')]], ['f a 1', 'f b 1 = a']],
    ['what is left of hard links', [[f('a'), f('b', 1, 'a'), f('c', 1, 'a')], [f('a', 2)]], ['f a 2', 'f b 1', 'f c 1 = b']],
    ['hard links to a layer below as one copy', [[f('a'), f('b', 1, 'a')], [link('c', 'a')]], ['f a 1', 'f b 1', 'f c 1 = a']],
    ['two links to a layer below as one file', [[d('x', 4), f('x/a')], [link('b', 'x/a'), link('c', 'x/a')]], ['f b 1', 'f c 1 = b', 'd x 4', 'f x/a 1 = b']],
  ])('%s', (_, layers, expected) => expect(seen(...layers)).toEqual(expected)) // prettier-ignore
})

describe('settleLayers() makes', () => {
  test.each<[string, Part[][], string[]]>([
    ['a device 0:0 of a whiteout', [[f('a')], [hide('a')]], ['- a']],
    ['nothing of a whiteout that hides nothing', [[f('a')], [hide('b'), hide('a/b')]], ['d a 0']],
    ['nothing of a whiteout in an opaque directory', [[d('a'), f('a/b')], [opaque('a'), hide('a/b')]], ['d a! 1']],
    ['a mark of an opaque directory', [[d('a'), f('a/f')], [opaque('a')]], ['d a! 1']],
    ['no mark where nothing is below', [[f('a')], [d('a'), opaque('a'), d('b'), opaque('b')]], ['d a 1', 'd b 1']],
    ['a mark of a directory that is also hidden', [[d('a'), f('a/f')], [hide('a'), d('a', 2)]], ['d a! 2']],
    ['a directory of nobody of one that is hidden', [[d('a', 5)], [hide('a'), f('a/f')]], ['d a! 0', 'f a/f 1']],
    ['whiteouts and marks of an opaque root', [[d('a'), d('b'), f('b/f')], [opaque(''), d('b', 2)]], ['- a', 'd b! 2']],
    ['a copy of what is linked to, with all above it', [[d('x', 4), f('x/a')], [link('b', 'x/a')]], ['f b 1', 'd x 4', 'f x/a 1 = b']],
  ])('%s', (_, layers, expected) => expect(shown(settled(...layers).at(-1)!)).toEqual(expected)) // prettier-ignore
  test.each<[string, Part[], Part[]]>([
    ['nothing', [f('a')], [link('b', 'c')]],
    ['a directory', [d('a')], [link('b', 'a')]],
    ['what the layer hides', [f('a')], [link('b', 'a'), hide('a')]],
    ['what is in an opaque directory', [d('d'), f('d/a')], [link('b', 'd/a'), opaque('d')]],
    ['what is beneath a file of the layer', [d('d'), f('d/a')], [f('d'), link('b', 'd/a')]],
  ])('no hard link to %s', (_, below, layer) => {
    expect(() => settled(below, layer)).toThrow(expect.objectContaining({ code: 'E_HARDLINK' }))
  })
})

/** The specification, name by name: from the top down, the first layer that has a name or hides it decides. */
function visible(layers: readonly Tree[], path: ByteString): { depth: number; entry: Entry } | undefined {
  for (let depth = layers.length - 1; depth >= 0; depth--) {
    const own = new Map(layers[depth]?.entries.map((entry) => [entry.path, entry]))
    const entry = own.get(path)
    if (entry !== undefined) return isWhiteout(entry) ? undefined : { depth, entry }
    for (let above = path; above !== '';) {
      above = parentOf(above)
      const directory = own.get(above)
      if (directory !== undefined && (directory.kind !== 'directory' || isOpaque(directory))) return undefined
    }
  }
  return undefined
}

describe('flatten()', () => {
  test('agrees name by name with what a mount looks up', () => {
    fc.assert(
      fc.property(anyLayers.map(settleLayers), (layers) => {
        const paths = new Set(layers.flatMap(({ entries }) => entries.map(({ path }) => path)))
        const flat = flatten(layers)
        const found = [...paths].toSorted().flatMap((path) => visible(layers, path) ?? [])
        expect(flat.entries.map((entry) => plain(entry))).toEqual(found.map(({ entry }) => plain(entry)))
        const groups = found.map(({ depth, entry }) => (entry.kind === 'file' ? `${depth} ${entry.first}` : entry.path))
        flat.entries.forEach((entry, i) => {
          if (entry.kind === 'file') expect(entry.first).toBe(found[groups.indexOf(groups[i]!)]?.entry.path)
        })
      }),
      { numRuns: 500 },
    )
  })
  test('may be done in parts from below', () => {
    fc.assert(
      fc.property(anyLayers.map(settleLayers), fc.nat(), (layers, at) => {
        const cut = 1 + (at % layers.length)
        expect(flatten([flatten(layers.slice(0, cut)), ...layers.slice(cut)])).toEqual(flatten(layers))
      }),
    )
  })
})

/** Layers of which some are there again. */
const repeated = fc
  .tuple(anyLayers, fc.array(fc.nat(), { minLength: 1, maxLength: 3 }))
  .map(([layers, again]) => settleLayers([...layers, ...again.map((i) => layers[i % layers.length]!)]))
const once = (layers: readonly Tree[]): Tree[] =>
  withoutRepeats(layers.map((tree) => ({ id: treeId(tree), tree }))).map(({ tree }) => tree)

test('withoutRepeats() leaves what is seen as it is', () => {
  let shorter = 0
  fc.assert(
    fc.property(repeated, (layers) => {
      expect(flatten(once(layers))).toEqual(flatten(layers))
      if (once(layers).length < layers.length) shorter++
    }),
    { numRuns: 500 },
  )
  expect(shorter).toBeGreaterThan(100)
})

function plain(entry: Entry): Entry {
  if (entry.kind === 'directory') return withoutMark(entry)
  return entry.kind === 'file' ? { ...entry, first: byteString('') } : entry
}

describe('flatten() is what the kernel mounts', () => {
  let mounts: Mounts
  beforeAll(async () => void (mounts = await startMounts()))
  afterAll(() => mounts[Symbol.dispose]())

  test('of generated layers', async () => {
    await fc.assert(
      fc.asyncProperty(anyLayers.map(settleLayers), async (layers) => {
        expect(await mounts.show(layers)).toEqual(flatten(layers))
      }),
      { numRuns: 60 },
    )
  })

  test('of layers of which repeated ones are left out', async () => {
    await fc.assert(
      fc.asyncProperty(repeated, async (layers) => {
        expect(await mounts.show(once(layers))).toEqual(flatten(layers))
      }),
      { numRuns: 40 },
    )
  })
})

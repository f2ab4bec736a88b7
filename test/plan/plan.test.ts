// makePlan and countChanges: laws over made-up trees, held by an executor that does what a plan says, and a few cases.
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { byteString, type ByteString } from '../../src/model/bytes.ts'
import { parentOf, type FileEntry } from '../../src/model/entry.ts'
import type { Place, Plan } from '../../src/model/plan.ts'
import { filesOf, rootfsBytes, type Tree } from '../../src/model/tree.ts'
import { countChanges, makePlan, missingContents, type PlanInput } from '../../src/plan/plan.ts'
import { anyTrees, filesAfter, filesIn, isAtOrBelow, treeOf, type Files, type Inode, type Operation } from './files.ts'

const ROOT = byteString('')
const NOW = 99_999n

type Trees = {
  readonly base: Tree | undefined
  readonly target: Tree
  readonly others: readonly Tree[]
  readonly stacked?: boolean
}

function inputOf({ base, target, others, stacked = false }: Trees): PlanInput {
  const elsewhere = new Map<string, { tree: string; file: FileEntry; alone: boolean }>()
  const lacking = new Set(missingContents(target, base))
  for (const [number, tree] of others.entries())
    for (const file of filesOf(tree))
      if (lacking.has(file.sha256) && !elsewhere.has(file.sha256))
        elsewhere.set(file.sha256, { tree: `other ${number}`, file, alone: !isLinked(file, tree) })
  return { target: { id: 'target', tree: target }, base: base && { id: 'base', tree: base }, elsewhere, stacked }
}

function isLinked({ path, first }: FileEntry, tree: Tree): boolean {
  return filesOf(tree).some((file) => file.first === first && file.path !== path)
}

/** What a host has after it did what the plan says; throws where a step cannot be done. */
function execute(plan: Plan, { base, others }: Trees): { files: Files; host: ReadonlyMap<string, Files> } {
  const host = new Map(others.map((tree, number) => [`other ${number}`, filesIn(tree)]))
  if (base !== undefined) host.set('base', filesIn(base))
  const files: Files = new Map()
  // `cp -al`: directories are made again, all else is linked
  for (const [path, inode] of (plan.base === undefined ? undefined : host.get(plan.base)) ?? [])
    files.set(path, inode.is.kind === 'directory' ? { is: inode.is } : inode)
  const moved = (path: ByteString): void => {
    const above = files.get(parentOf(path))
    if (path === ROOT || above === undefined) return
    above.is = { ...above.is, mtimeNs: NOW }
  }
  for (const top of plan.drop) {
    if (!files.has(top)) throw new Error(`drops "${top}", which is not there`)
    moved(top)
    for (const path of files.keys()) if (isAtOrBelow(path, top)) files.delete(path)
  }
  const explicit = new Set<ByteString>()
  const last: (() => void)[] = []
  const taken = ({ tree, path }: Place): { file: Inode } => {
    const file = tree === plan.tree && explicit.has(path) ? files.get(path) : host.get(tree)?.get(path)
    if (file?.is.kind !== 'file') throw new Error(`takes "${path}" from ${tree}, which has no such file`)
    return { file }
  }
  for (const step of plan.steps) {
    const { path } = step.entry
    if (path !== ROOT && !explicit.has(parentOf(path))) throw new Error(`"${path}" has a parent that no step makes`)
    const before = files.get(path)
    const isDirectory = step.entry.kind === 'directory'
    if (before !== undefined && ((before.is.kind === 'directory') !== isDirectory || explicit.has(path)))
      throw new Error(`"${path}" is there already`)
    // what is no directory replaces what the base has
    const old = isDirectory ? before : undefined
    if (old === undefined) moved(path)
    if (step.kind === 'link') files.set(path, taken(step.from).file)
    else if (step.kind === 'alias') {
      const first = files.get(step.entry.first)
      if (first === undefined || !explicit.has(step.entry.first)) throw new Error(`"${path}" is an alias of nothing`)
      files.set(path, first)
    } else if (step.entry.kind === 'directory') {
      const { path: _, ...is } = step.entry
      const inode = old ?? { is }
      files.set(path, inode)
      // attributes are added to those of the base's directory; times are set last
      const names = new Set(is.xattrs.map(({ name }) => name))
      const xattrs = [...inode.is.xattrs.filter(({ name }) => !names.has(name)), ...is.xattrs]
      last.push(() => (inode.is = { ...is, xattrs: old === undefined ? is.xattrs : xattrs }))
    } else if (step.kind === 'copy') {
      const { path: _, first: __, ...is } = step.entry
      const { file } = taken(step.from)
      if (file.is.kind === 'file') files.set(path, { is: { ...is, sha256: file.is.sha256, size: file.is.size } })
    } else if (step.entry.kind === 'file') {
      const { path: _, first: __, ...is } = step.entry
      files.set(path, { is })
    } else {
      const { path: _, ...is } = step.entry
      files.set(path, { is })
    }
    explicit.add(path)
  }
  for (const set of last) set()
  return { files, host }
}

const holds = (law: (trees: Trees) => unknown): void =>
  fc.assert(
    fc.property(anyTrees, fc.boolean(), fc.boolean(), ({ base, target, others }, withBase, stacked) => {
      law({ base: withBase ? base : undefined, target, others, stacked })
    }),
    { numRuns: 2000 },
  )

describe('makePlan()', () => {
  test('makes the target of the base, with its hard links and no others', () => {
    holds((trees) => expect(treeOf(execute(makePlan(inputOf(trees)), trees).files)).toEqual(trees.target))
  })

  test('shares an inode with a tree that may be mounted together with it only under the same names', () => {
    holds((trees) => {
      const { files, host } = execute(makePlan(inputOf(trees)), trees)
      const together = [...host].filter(([name]) => name !== 'base' || trees.stacked === true).map(([, other]) => other)
      const shared = [...new Set(files.values())].filter((inode) => inode.is.kind === 'file')
      const namesIn = (of: Files, inode: Inode): string[] => [...of.keys()].filter((path) => of.get(path) === inode)
      for (const other of together) {
        const both = shared.filter((inode) => namesIn(other, inode).length > 0)
        expect(both.map((inode) => namesIn(files, inode).toSorted())).toEqual(both.map((inode) => namesIn(other, inode).toSorted())) // prettier-ignore
      }
    })
  })

  test('sends no contents that the host has, and all that it counts', () => {
    holds((trees) => {
      const has = new Set([trees.base, ...trees.others].flatMap((tree) => (tree ? filesOf(tree) : [])).map((file) => file.sha256)) // prettier-ignore
      const plan = makePlan(inputOf(trees))
      const sent = plan.steps.filter((step) => step.kind === 'send').map(({ entry }) => entry)
      expect(sent.filter((file) => has.has(file.sha256))).toEqual([])
      expect(plan.bytes).toEqual({
        rootfs: rootfsBytes(trees.target),
        changed: sent.reduce((bytes, file) => bytes + file.size, 0),
      })
    })
  })

  test('sends contents of 512 bytes and more once', () => {
    holds((trees) => {
      const sent = makePlan(inputOf(trees)).steps.flatMap((step) => (step.kind === 'send' && step.entry.size >= 512 ? [step.entry.sha256] : [])) // prettier-ignore
      expect(sent).toEqual([...new Set(sent)])
    })
  })

  test('touches nothing where base and target are equal', () => {
    holds(({ target, others, stacked = false }) => {
      expect(makePlan(inputOf({ base: target, target, others, stacked }))).toMatchObject({
        base: 'base',
        drop: [],
        steps: [],
      })
    })
  })

  test('is the same for the same input', () => {
    holds((trees) => expect(makePlan(inputOf(structuredClone(trees)))).toEqual(makePlan(inputOf(trees))))
  })

  const put = (path: string, mark = 1, meta = 0): Operation => ({ do: 'put', kind: 'file', path, mark, meta })
  const directory = (path: string, meta = 0): Operation => ({ do: 'put', kind: 'directory', path, mark: 1, meta })
  const symlink = (path: string): Operation => ({ do: 'put', kind: 'symlink', path, mark: 1, meta: 0 })
  const link = (path: string, to: string): Operation => ({ do: 'link', path, to })

  test.each<[string, Operation[], Operation[], string[]]>([
    ['sends what is new', [], [put('a', 7)], ['make ', 'send a']],
    ['links what moved', [put('a')], [put('b')], ['drop a', 'make ', 'link b from a']],
    ['copies what has new metadata, from its own path', [put('b'), put('a')], [put('b', 1, 1), put('a')], ['make ', 'copy b from b']],
    ['copies a second file of one key, so that the two stay apart', [put('a')], [put('a'), put('b')], ['make ', 'copy b from a']],
    ['sends two small files of one key that nobody has', [], [put('a'), put('b')], ['make ', 'send a', 'send b']],
    ['sends larger contents once for all that have them', [], [put('b', 7), put('a', 7, 1), put('c', 7), link('c', 'd')], ['make ', 'send a', 'copy b from a', 'copy c from a', 'alias d']],
    ['links both names of a moved group to one inode', [put('a'), link('a', 'b')], [put('c'), link('c', 'd')], ['drop a', 'drop b', 'make ', 'link c from a', 'alias d']],
    ['makes a group anew where one of its names has left it', [put('a'), link('a', 'b')], [put('a'), put('b')], ['make ', 'copy b from b']],
    ['drops the top of what went', [directory('a'), put('a/f'), put('g')], [put('g')], ['drop a', 'make ']],
    ['keeps a directory that only lost something', [directory('a'), put('a/f')], [directory('a')], ['drop a/f', 'make ', 'make a']],
    ['drops a file where a directory comes, and a directory where a file does', [directory('a'), put('b')], [put('a', 7), directory('b')], ['drop a', 'drop b', 'make ', 'make b', 'send a']],
    ['makes symlinks last', [], [symlink('a'), put('b'), directory('c'), symlink('c/d')], ['make ', 'make c', 'send b', 'make a', 'make c/d']],
    ['starts from nothing where a directory loses an attribute, and still links', [directory('a', 3), put('a/f')], [directory('a'), put('a/f')], ['make ', 'make a', 'link a/f from a/f']],
    ['keeps the base where a directory gains an attribute', [directory('a'), put('a/f')], [directory('a', 3), put('a/f')], ['make ', 'make a']],
  ])('%s', (_, before, after, expected) => {
    const plan = makePlan(inputOf({ base: treeOf(filesAfter(before)), target: treeOf(filesAfter(after)), others: [] }))
    const steps = plan.steps.map((step) => `${step.kind} ${step.entry.path}${'from' in step ? ` from ${step.from.path}` : ''}`) // prettier-ignore
    expect([...plan.drop.map((path) => `drop ${path}`), ...steps]).toEqual(expected)
  }) // prettier-ignore

  test('links what another tree has at the same path, and copies it from others and where two groups would share it', () => {
    const others = [treeOf(filesAfter([put('x', 9), put('y', 8), link('y', 'z')]))]
    const kinds = (...after: Operation[]): string[] =>
      makePlan(inputOf({ base: undefined, target: treeOf(filesAfter(after)), others })).steps.map(({ kind }) => kind)
    expect(kinds(put('x', 9))).toEqual(['make', 'link'])
    expect(kinds(put('a', 9))).toEqual(['make', 'copy'])
    expect(kinds(put('y', 8))).toEqual(['make', 'copy'])
    expect(kinds(put('x', 9), put('b', 9))).toEqual(['make', 'copy', 'copy'])
    expect(kinds(put('x', 9), link('x', 'b'))).toEqual(['make', 'copy', 'alias'])
    expect(kinds(put('x', 9, 1))).toEqual(['make', 'copy'])
  })
})

describe('countChanges()', () => {
  test('counts every entry of the target once, and what only the base has', () => {
    holds(({ base, target }) => {
      const paths = new Set(target.entries.map(({ path }) => path))
      const changes = countChanges(target, base)
      const { total, unchanged, added, changed, metadata, removed } = changes
      expect(unchanged + added + changed + metadata).toBe(total)
      expect(total).toBe(target.entries.length)
      expect(removed).toBe((base?.entries ?? []).filter(({ path }) => !paths.has(path)).length)
      expect(total - added + removed).toBe(base?.entries.length ?? 0)
    })
  })

  test('tells contents from metadata, and what is no file, directory or symlink', () => {
    const before = [
      { do: 'put', kind: 'file', path: 'a', mark: 1, meta: 0 },
      { do: 'put', kind: 'file', path: 'b', mark: 1, meta: 0 },
      { do: 'put', kind: 'fifo', path: 'c', mark: 1, meta: 0 },
      { do: 'put', kind: 'file', path: 'd', mark: 1, meta: 0 },
    ] satisfies Operation[]
    const after = [
      ...before,
      { do: 'touch', path: 'a', meta: 1 },
      { do: 'put', kind: 'symlink', path: 'b', mark: 1, meta: 0 },
      { do: 'remove', path: 'd' },
      { do: 'put', kind: 'directory', path: 'e', mark: 1, meta: 0 },
    ] satisfies Operation[]
    expect(countChanges(treeOf(filesAfter(after)), treeOf(filesAfter(before)))).toEqual({
      total: 5,
      unchanged: 2,
      metadata: 1,
      changed: 1,
      added: 1,
      removed: 1,
      special: 1,
    })
  })
})

// What is sent, summed by package and listed by file.
import { expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { FileEntry } from '../../src/model/entry.ts'
import type { Plan, Step } from '../../src/model/plan.ts'
import { costOf } from '../../src/plan/cost.ts'

const file = (path: string, size: number): FileEntry => ({ kind: 'file', path: byteString(path), first: byteString(path), size, sha256: '0'.repeat(64), mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }) // prettier-ignore
const plan = (tree: string, steps: Step[]): Plan => ({ tree, base: undefined, drop: [], steps, entries: 0, bytes: { rootfs: 0, changed: 0 } }) // prettier-ignore
const send = (path: string, size: number): Step => ({ kind: 'send', entry: file(path, size) })

test('costOf() sums what is sent by owner, largest first, and no bytes that are not sent', () => {
  const libc = { name: 'libc6', version: '2.36' }
  const owners = new Map([byteString('lib/a'), byteString('lib/b'), byteString('lib/c')].map((path) => [path, libc]))
  const copy: Step = { kind: 'copy', entry: file('lib/c', 500), from: { tree: 'x', path: byteString('lib/c') } }
  const cost = costOf(
    [plan('one', [send('lib/a', 30), copy]), plan('two', [send('own', 40), send('lib/b', 20)])],
    owners,
  )
  expect(cost.packages).toEqual([
    { owner: libc, files: 2, bytes: 50 },
    { owner: undefined, files: 1, bytes: 40 },
  ])
  expect(cost.files.map(({ file: { path }, tree, owner }) => [path, tree, owner?.name])).toEqual([
    ['own', 'two', undefined],
    ['lib/a', 'one', 'libc6'],
    ['lib/b', 'two', 'libc6'],
  ])
})

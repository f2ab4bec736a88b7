// withReferences: the old file that a new one is most likely made from, and only one whose bytes are at hand, or that can be asked about.
import { describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { FileEntry } from '../../src/model/entry.ts'
import type { Plan, Reference } from '../../src/model/plan.ts'
import { withReferences } from '../../src/plan/references.ts'

const META = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }
function file(path: string, sha256: string, size = 1000): FileEntry {
  return { kind: 'file', path: byteString(path), ...META, size, sha256, first: byteString(path) }
}
const planOf = (...files: FileEntry[]): Plan => ({
  tree: 't',
  base: undefined,
  drop: [],
  steps: files.map((entry) => ({ kind: 'send', entry })),
  entries: files.length,
  bytes: { rootfs: 0, changed: 0 },
})
const held = (...files: FileEntry[]): { id: string; tree: { entries: FileEntry[] } } => ({
  id: 'h',
  tree: { entries: files },
})
const referenceFor = (
  wanted: FileEntry,
  files: FileEntry[],
  atHand: (sha256: string) => boolean = () => true,
  signable: (sha256: string) => boolean = () => false,
  below: (sha256: string) => boolean = () => false,
): string | undefined => {
  const usable = { atHand, below, signable: (other: Reference) => signable(other.sha256) }
  const [step] = withReferences(planOf(wanted), [held(...files)], usable).steps
  return step?.kind === 'send' ? step.reference?.path : undefined
}

describe('withReferences() takes', () => {
  test.each([
    ['the same path before any other', 'usr/bin/app', ['srv/app', 'usr/bin/app'], 'usr/bin/app'],
    ['the same path but for a version', 'usr/lib/libx.so.1.2.10', ['usr/lib/liby.so', 'usr/lib/libx.so.1.2.9'], 'usr/lib/libx.so.1.2.9'],
    ['the same path but for a hash', 'srv/main-3fa98c1d.js', ['srv/main-b91277aa.js'], 'srv/main-b91277aa.js'],
    ['the same name in the nearest directory', 'opt/new/lib/index.js', ['srv/index.js', 'opt/old/lib/index.js'], 'opt/old/lib/index.js'],
    ['the same name but for a version, moved', 'a/libx-2.so', ['b/libx-1.so'], 'b/libx-1.so'],
    ['nothing that has nothing in common', 'a/b', ['c/d'], undefined],
  ])('%s', (_, wanted, there, expected) => {
    expect(referenceFor(file(wanted, 'new'), there.map((path) => file(path, path)))).toBe(expected)
  }) // prettier-ignore

  test('of equal ones that of the likelier size', () => {
    expect(referenceFor(file('a/x', 'new', 1000), [file('b/x', '1', 70_000), file('c/x', '2', 1100)])).toBe('c/x')
  })

  test('what is at hand only', () => {
    const there = [file('usr/bin/app', '1'), file('srv/app', '2')]
    expect(referenceFor(file('usr/bin/app', 'new'), there, (sha256) => sha256 === '2')).toBe('srv/app')
    expect(referenceFor(file('usr/bin/app', 'new'), there, () => false)).toBeUndefined()
  })

  test('what the host can say signatures of, where nothing as likely is at hand', () => {
    const there = [file('usr/bin/app', '1'), file('srv/app', '2')]
    const signed = (wanted: string, atHand: string, size?: number): string | undefined =>
      referenceFor(file(wanted, 'new', size), there, (sha256) => sha256 === atHand, (sha256) => sha256 === '1') // prettier-ignore
    expect(signed('usr/bin/app', '2')).toBe('usr/bin/app')
    expect(signed('usr/lib/app', '2')).toBe('srv/app')
    expect(signed('usr/lib/app', '-')).toBe('usr/bin/app')
    expect(signed('usr/lib/app', '-', 3000)).toBeUndefined()
    expect(signed('usr/bin/app', '-', 3000)).toBe('usr/bin/app')
  })

  test('what a layer of the source has at the same path, but nothing else there', () => {
    const there = [file('usr/bin/app', '1'), file('srv/app', '2')]
    const none = (): boolean => false
    expect(referenceFor(file('usr/bin/app', 'new'), there, none, (sha256) => sha256 === '2', (sha256) => sha256 === '1')).toBe('usr/bin/app') // prettier-ignore
    expect(referenceFor(file('usr/lib/app', 'new'), there, none, (sha256) => sha256 === '2', (sha256) => sha256 === '1')).toBe('srv/app') // prettier-ignore
  })

  test('what is likely under any of the names that the contents get', () => {
    const sent = file('a/new', 'new')
    const steps: Plan['steps'] = [
      { kind: 'send', entry: sent },
      { kind: 'copy', entry: file('etc/app', 'new'), from: { tree: 't', path: sent.path } },
      { kind: 'alias', entry: { ...file('z/new', 'new'), first: sent.path }, copied: false },
    ]
    const found = (...paths: string[]): string | undefined => {
      const usable = { atHand: () => true, below: () => false, signable: () => false }
      const [step] = withReferences(
        { ...planOf(), steps },
        [held(...paths.map((path) => file(path, path)))],
        usable,
      ).steps
      return step?.kind === 'send' ? step.reference?.path : undefined
    }
    expect(found('b/new', 'etc/app')).toBe('etc/app')
    expect(found('b/new', 'z/new')).toBe('z/new')
    expect(found('b/new')).toBe('b/new')
  })

  test('nothing for a file that is smaller than the words', () => {
    expect(referenceFor(file('etc/x', 'new', 10), [file('etc/x', '1')])).toBeUndefined()
  })
})

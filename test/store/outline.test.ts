// A host's manifest out of what is known here: whole again whatever was changed, with few lines asked for.
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { joinLines, knownGroups, unknownLines, type Outline } from '../../src/store/outline.ts'

const bytes = (lines: readonly string[]): Buffer => Buffer.from(lines.map((line) => `${line}\n`).join(''), 'latin1')
const groupsOf = (lines: readonly string[], group: number): string[][] =>
  Array.from({ length: Math.ceil(lines.length / group) }, (_, i) => lines.slice(i * group, (i + 1) * group))

/** As a host tells it. */
function outlineOf(lines: readonly string[], group: number): Outline {
  const hashes = groupsOf(lines, group).map((some) =>
    createHash('sha256').update(bytes(some)).digest('hex').slice(0, 10),
  )
  return { id: 'a'.repeat(64), group, lines: lines.length, hashes }
}

/** What a host sends of these lines. */
function said(lines: readonly string[], ranges: string): Buffer {
  return bytes(
    ranges.split(',').flatMap((range) => {
      const [from = 0, to = 0] = range.split('-').map(Number)
      return range === '' ? [] : lines.slice(from - 1, to)
    }),
  )
}

const numbered = Array.from({ length: 1000 }, (_, i) => `line ${i}`)

test.each([
  ['nothing', numbered, ''],
  ['a line', numbered.with(500, 'other'), '497-512'],
  ['lines at both ends', ['first', ...numbered.slice(1, -1), 'last'], '1-16,993-1000'],
  ['a line that is gone', numbered.toSpliced(40, 1), '33-48'],
  ['lines that are new', numbered.toSpliced(40, 0, 'a', 'b', 'c'), '33-48'],
  ['all of it', numbered.map((line) => `${line}!`), '1-1000'],
])('unknownLines() where %s differs are those lines', (_, theirs, lines) => {
  const outline = outlineOf(theirs, 16)
  const known = knownGroups(outline, [bytes(['another text']), bytes(numbered)])
  expect(unknownLines(outline, known)).toBe(lines)
  expect(joinLines(outline, known, said(theirs, lines))).toEqual(bytes(theirs))
})

test('joinLines() makes any manifest of any texts, and asks for no line that a text has in a row with enough others', () => {
  const line = fc.constantFrom('a', 'b', 'c', 'd', '', '\xff')
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 60 }),
      fc.array(fc.array(line, { maxLength: 60 }), { maxLength: 3 }),
      fc.integer({ min: 1, max: 9 }),
      (theirs, texts, group) => {
        const outline = outlineOf(theirs, group)
        const own = knownGroups(outline, texts.map(bytes))
        expect(joinLines(outline, own, said(theirs, unknownLines(outline, own)))).toEqual(bytes(theirs))
        const all = knownGroups(outline, [bytes(theirs)])
        expect(unknownLines(outline, all)).toBe('')
      },
    ),
  )
})

test.each([
  ['too few lines', numbered.slice(0, 3)],
  ['too many', numbered],
  ['nothing', []],
])('joinLines() of %s makes something else, and does not throw', (_, lines) => {
  const outline = outlineOf(numbered.with(500, 'other'), 16)
  const known = knownGroups(outline, [bytes(numbered)])
  expect(joinLines(outline, known, bytes(lines))).not.toEqual(bytes(numbered.with(500, 'other')))
})

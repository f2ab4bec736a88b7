// normalisePath: what a name from an archive becomes, and what no tree can hold.
import { expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import { normalisePath } from '../../src/model/path.ts'

test.each([
  ['a', 'a', false],
  ['./a/./b/', 'a/b', false],
  ['a//b', 'a/b', false],
  ['/etc/x', 'etc/x', true],
  ['//etc', 'etc', true],
  ['.', '', false],
  ['./', '', false],
  ['/', '', true],
  ['a/...', 'a/...', false],
  ['\xff\n-', '\xff\n-', false],
  ['c'.repeat(255), 'c'.repeat(255), false],
  [`${'d/'.repeat(511)}f`, `${'d/'.repeat(511)}f`, false],
])('normalisePath(%j) is %j', (raw, path, absolute) => {
  expect(normalisePath(byteString(raw))).toEqual({ path, absolute })
})

test.each([
  ['21', '../x', 'E_PATH_ESCAPE'],
  ['22', 'a/../../x', 'E_PATH_ESCAPE'],
  ['22, though it stays inside', 'a/b/../x', 'E_PATH_ESCAPE'],
  ['24', '', 'E_PATH_EMPTY'],
  ['26', '..', 'E_PATH_ESCAPE'],
  ['26, absolute', '/..', 'E_PATH_ESCAPE'],
  ['27', `${'p'.repeat(200)}/`.repeat(25), 'E_PATH_LONG'],
  ['28', 'c'.repeat(256), 'E_PATH_LONG'],
  ['29', 'd/'.repeat(10_000), 'E_PATH_DEPTH'],
  ['29, just too deep', `${'d/'.repeat(512)}f`, 'E_PATH_DEPTH'],
  ['NUL', 'a\0b', 'E_PATH_ESCAPE'],
])('normalisePath() refuses %s', (_, raw, code) => {
  expect(() => normalisePath(byteString(raw))).toThrow(expect.objectContaining({ code }))
})

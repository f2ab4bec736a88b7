// checkDevices: which device nodes may be shipped, and how the others are named.
import { expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry, NodeEntry } from '../../src/model/entry.ts'
import { makeTree, type Tree } from '../../src/model/tree.ts'
import { checkDevices } from '../../src/plan/devices.ts'

const META = { mode: 0o600, uid: 0, gid: 0, mtimeNs: 0n, xattrs: [] }

/** A node a word: `c1:3`, `b8:0`, `p`, at paths n0, n1, ... */
function nodes(...words: string[]): Tree {
  const made = words.map((word, i): Entry => {
    const [, letter, major, minor] = /^([cbp])(?:(\d+):(\d+))?$/.exec(word) ?? []
    const kind: NodeEntry['kind'] = letter === 'c' ? 'char' : letter === 'b' ? 'block' : 'fifo'
    return { kind, path: byteString(`n${i}`), ...META, major: Number(major ?? 0), minor: Number(minor ?? 0) }
  })
  return makeTree([{ kind: 'directory', path: byteString(''), ...META }, ...made])
}

test('checkDevices() passes what every container has, and FIFOs', () => {
  const tree = nodes('c1:3', 'c1:5', 'c1:7', 'c1:8', 'c1:9', 'c5:0', 'c5:1', 'c5:2', 'p')
  expect(() => checkDevices(tree, false)).not.toThrow()
})

test.each(['c1:1', 'c1:4', 'c5:3', 'c10:200', 'b1:3', 'b8:0', 'b0:0'])('checkDevices() refuses %s unless all are allowed', (word) => {
  const tree = nodes('c1:3', word)
  expect(() => checkDevices(tree, false)).toThrow(expect.objectContaining({ code: 'E_DEVICE', hint: expect.stringContaining('--allow-devices') })) // prettier-ignore
  expect(() => checkDevices(tree, true)).not.toThrow()
}) // prettier-ignore

test('checkDevices() names five nodes and counts the rest', () => {
  expect(() => checkDevices(nodes(...Array<string>(8).fill('b8:0')), false)).toThrow(
    'cannot ship "n0" (block 8:0), "n1" (block 8:0), "n2" (block 8:0), "n3" (block 8:0), "n4" (block 8:0) and 3 more: device nodes',
  )
})

test('checkDevices() refuses a whiteout even where all devices are allowed', () => {
  expect(() => checkDevices(nodes('c1:3', 'c0:0'), true)).toThrow(expect.objectContaining({ code: 'E_WHITEOUT_DEV' }))
})

// signatures: what a host says of its old files, whatever its shell and its tools, is what the sender looks for.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TREE, noise, signatureOf } from '../delta/patches.ts'
import { busyboxShell } from './busybox.ts'
import { evaluated, ground, runtimeText } from './runtime.ts'

const withoutPerl = runtimeText.replace('  if has perl; then\n    (cd "$store" && perl -e "$signatures_perl"', '  if false; then\n    (cd "$store" && perl -e "$signatures_perl"') // prettier-ignore
const perl = { text: runtimeText.replace('    (cd "$store" && signed ', '    (cd "$store" && no-awk '), by: 'perl' }
const awk = { text: withoutPerl, by: 'od and awk' }
const hosts = [
  { name: 'dash', shell: (): string[] => ['dash'], ...perl },
  { name: 'dash', shell: (): string[] => ['dash'], ...awk },
  { name: 'bash --posix', shell: (): string[] => ['bash', '--posix'], ...perl },
  { name: 'bash --posix', shell: (): string[] => ['bash', '--posix'], ...awk },
  { name: 'BusyBox ash', shell: busyboxShell, text: runtimeText, by: 'its tools' },
]

const files = [
  ...[0, 1, 3, 15, 16, 17, 255, 256, 257, 700, 10_000, 123_457].map((size) => noise(size, size)),
  Buffer.alloc(5000),
  Buffer.alloc(5000, 0xff),
]
const names = files.map((_, i) => ['file', ' -n *', 'a\nb', 'it\'s \\ "', '\x01\xff'][i % 5] + String(i))
let store: string
beforeAll(() => {
  store = mkdtempSync(join(ground, 'store-'))
  mkdirSync(join(store, 'tx'))
  mkdirSync(join(store, `tree/${TREE}/root/deep`), { recursive: true })
  writeFileSync(join(store, 'format'), 'varve-store 1\n')
  for (const [i, bytes] of files.entries()) writeFileSync(pathOf(i), bytes)
})
afterAll(() => rmSync(store, { recursive: true }))
const pathOf = (i: number): Buffer => Buffer.from(join(store, `tree/${TREE}/root/deep/${names[i]}`), 'latin1')
const wordOf = (i: number, block: number, width: number): string =>
  `${block} ${width} tree/${TREE}/root/deep/${names[i]}\0`

describe.each(hosts)('signatures under $name by $by', ({ shell, text }) => {
  let words: string[]
  beforeAll(() => void (words = shell()))
  const answer = (body: Uint8Array, length = body.length): Buffer => {
    const [program = '', ...args] = words
    const input = Buffer.concat([Buffer.from(`signatures ${length}\n`), body])
    return spawnSync(program, [...args, ...evaluated(text, ['/root', '0', store, '/run'])], { input }).stdout
  }
  const ask = (list: string): Buffer => answer(gzipSync(Buffer.from(list, 'latin1')))

  test('are tried as they are said to be', () => {
    expect(withoutPerl).not.toBe(runtimeText)
    expect(perl.text).not.toBe(runtimeText)
  })

  test.each([
    [256, 4],
    [704, 5],
    [16, 6],
    [10_240, 7],
  ])('are those of each block of %i bytes, in %i', (block, width) => {
    const expected = Buffer.concat(files.map((bytes) => signatureOf(bytes, { block, width })))
    const said = ask(files.map((_, i) => wordOf(i, block, width)).join(''))
    const head = Buffer.from(`payload ${expected.length}\n`)
    expect(said.subarray(0, head.length).toString('latin1')).toBe(head.toString())
    expect(said.subarray(head.length, -3).equals(expected)).toBe(true)
    expect(said.subarray(-3).toString()).toBe('ok\n')
  })

  test('leave out what is not there, and need not be of any file', () => {
    const own = signatureOf(files[10] ?? Buffer.alloc(0), { block: 704, width: 7 })
    const said = ask(`${wordOf(10, 704, 7)}704 7 tree/${TREE}/root/none\x00704 7 tree/${TREE}/root/deep\0`)
    expect(said.subarray(`payload ${own.length}\n`.length, -3).equals(own)).toBe(true)
    expect(ask('').toString()).toBe('payload 0\nok\n')
  })

  test.each([
    ['leaves the tree', `704 7 tree/${TREE}/root/../../../etc/passwd\0`],
    ['ends outside of the tree', `704 7 tree/${TREE}/root/deep/..\0`],
    ['is of no tree', '704 7 /etc/passwd\0'],
    ['is no file', `704 7 tree/${TREE}/root/\0`],
    ['has no numbers', `tree/${TREE}/root/deep/file0\0`],
    ['has too large a number', `9999999999 7 tree/${TREE}/root/deep/file0\0`],
    ['wants more than there is', `704 8 tree/${TREE}/root/deep/file0\0`],
  ])('are refused where a word %s', (_, word) => {
    expect(ask(wordOf(0, 704, 7) + word).toString()).toBe('die E_PROTO cannot say signatures: the list names what is no file of a tree\n') // prettier-ignore
  })

  test('are refused where the list is cut or is none', () => {
    const list = gzipSync(Buffer.from(wordOf(0, 704, 7)))
    const refused = 'die E_PROTO cannot read the list of files: it is cut\n'
    expect(answer(list.subarray(0, 20), 20).toString()).toBe(refused)
    expect(answer(Buffer.from('hello')).toString()).toBe(refused)
  })
})

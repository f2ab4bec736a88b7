// ReplyReader and readSurvey: what a host may answer, and by what name any other answer is refused.
import { Readable } from 'node:stream'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isErrorCode, VarveError } from '../../src/errors.ts'
import { number, ReplyReader, treeIdOf } from '../../src/host/replies.ts'
import { readSurvey, type Survey } from '../../src/host/survey.ts'

const ID = 'a'.repeat(64)

/** A reader of these bytes, in pieces of `length`. */
function said(text: string | Buffer, length = 7): ReplyReader {
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += length) pieces.push(bytes.subarray(at, at + length))
  return new ReplyReader(Readable.from(pieces))
}

describe('mark()', () => {
  test('skips banners, and a prompt on its own line', async () => {
    const reader = said('Welcome!\r\nlast login: \x1b[1mnow\x1b[0m\nsh$ mark7 ready 1\nok\n')
    expect(await reader.mark('mark7')).toEqual(['ready', '1'])
    expect(await reader.reply()).toEqual({ records: [], payload: undefined })
  })

  test.each([
    ['nothing', '', 'it answered nothing'],
    ['a shell that is none', 'This account is \x1b[31mnot available.\n', 'it answered "This account is \\x1b[31mnot available.\\x0a"'],
    ['another mark', 'mark8 ready 1\n', 'it answered "mark8'],
    ['noise without end', 'x'.repeat(1 << 17), 'it answered "xxx'],
    ['lines without end', 'x\n'.repeat(1 << 17), 'it answered "x\\x0a'],
  ])('refuses %s', async (_, text, message) => {
    const refused: unknown = await said(text, 4096).mark('mark7').catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'E_SHELL', message: expect.stringContaining(message) })
    expect(String(refused).length).toBeLessThan(1200)
  }) // prettier-ignore
})

describe('reply()', () => {
  test('reads records and a payload up to ok, however they are cut', async () => {
    const text = 'tree x\npayload 5\n\0\n\xff\ncgeneration a 1\nok\nrest 2\nok\n'
    for (let length = 1; length <= text.length; length++) {
      const reader = said(text, length)
      expect(await reader.reply()).toEqual({
        records: [['tree', 'x'], ['generation', 'a', '1']],
        payload: Buffer.from('\0\n\xff\nc', 'latin1'),
      }) // prettier-ignore
      expect((await reader.reply()).records).toEqual([['rest', '2']])
    }
  })

  test.each([
    ['an answer that ends too early', 'tree x\n', 'E_LOST'],
    ['a line that ends too early', 'o', 'E_LOST'],
    ['a payload that ends too early', 'payload 9\nabc', 'E_LOST'],
    ['a line without end', 'x'.repeat(9000), 'E_PROTO'],
    ['a line that is too long', `${'x'.repeat(9000)}\nok\n`, 'E_PROTO'],
    ['line ends of a terminal', 'tree x\r\nok\r\n', 'E_PROTO'],
    ['control bytes', 'tree \x1b[31m\nok\n', 'E_PROTO'],
    ['bytes above ASCII in a record', 'tree \xe9\nok\n', 'E_PROTO'],
    ['a payload too large', 'payload 999999999999\n', 'E_PROTO'],
    ['a payload of a negative size', 'payload -1\n', 'E_PROTO'],
    ['a payload of no size', 'payload\n', 'E_PROTO'],
    ['a failure of no known name', 'die E_OWNED hello\n', 'E_PROTO'],
    ['a failure by the name of a property', 'die constructor hello\n', 'E_PROTO'],
    ['a failure without a name', 'die \n', 'E_PROTO'],
  ])('refuses %s', async (_, text, code) => {
    await expect(said(text, 1024).reply()).rejects.toMatchObject({ code })
  })

  test('refuses more records than a host can have', async () => {
    await expect(said('a\n'.repeat(1_000_001), 1 << 16).reply()).rejects.toMatchObject({ code: 'E_PROTO' })
  })

  test('throws what the host died of, with its words escaped', async () => {
    await expect(said('die E_NOSPACE no room for "caf\xc3\xa9"\n').reply()).rejects.toMatchObject({
      code: 'E_NOSPACE',
      message: 'no room for "caf\\xc3\\xa9"',
      hint: expect.stringContaining('varve gc'),
    })
  })

  test('answers any bytes with an error of a known name that is safe at a terminal', async () => {
    const line = fc.constantFrom('ok\n', 'payload 3\n', 'die E_IO \x9b1m\n', 'tree x\n', '\n', 'payload \u00b2\n')
    const text = fc.array(fc.oneof(line, fc.string({ unit: 'binary' }))).map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 99 }), async (bytes, length) => {
        const got: unknown = await said(Buffer.from(bytes), length).reply().catch((error: unknown) => error)
        const safe = got instanceof VarveError ? isErrorCode(got.code) && /^[ -~]*$/.test(got.message) : !(got instanceof Error)
        expect(safe).toBe(true)
      }),
      { numRuns: 500 },
    ) // prettier-ignore
  })
})

test.each(['', '-1', '+1', '1.5', '1e9', '0x1', ' 1', '1'.repeat(16), 'NaN', '\u0661', undefined])('number() refuses %j', (text) => {
  expect(() => number(text)).toThrow(expect.objectContaining({ code: 'E_PROTO' }))
}) // prettier-ignore

test.each(['', '../x', 'A'.repeat(64), 'a'.repeat(63), 'a'.repeat(65), `${ID}\n`, undefined])('treeIdOf() refuses %j', (text) => {
  expect(() => treeIdOf(text)).toThrow(expect.objectContaining({ code: 'E_PROTO' }))
}) // prettier-ignore

describe('readSurvey()', () => {
  const survey = (...lines: string[]): Survey =>
    readSurvey({ records: lines.map((line) => line.split(' ')), payload: undefined })
  const container = 'container app current 2 next 4 mounted yes linked no'

  test('reads what a host has', () => {
    const found = survey('probe tar gnu', 'probe has zstd,perl', 'probe free_kib 12', `epoch ${'b'.repeat(32)}`, `tree ${ID}`, container,
      `generation app 3 stack ${ID},${ID} rootfs copy config ${ID} parent 2`, `generation app 2 stack ${ID} rootfs overlay config ${ID} parent 1`, `stack ${ID},${ID}`) // prettier-ignore
    expect(found).toMatchObject({
      tools: { tar: 'gnu', missing: [], freeKib: 12, freeInodes: undefined },
      epoch: 'b'.repeat(32),
      trees: [ID],
      stacks: [[ID, ID]],
      containers: [{ name: 'app', current: 2, next: 4, mounted: true, linked: false }],
    })
    expect(found.containers[0]?.generations.map((each) => each.number)).toEqual([2, 3])
    expect([found.tools.has('zstd'), found.tools.has('xz')]).toEqual([true, false])
  })

  test.each([
    ['a record of an unknown kind', ['shadow root']],
    ['an empty record', ['']],
    ['a tree that is a path', ['tree ../../etc']],
    ['an epoch that is none', ['epoch x']],
    ['a container that is a path', ['container ../x current 1 next 2 mounted yes linked yes']],
    ['a negative generation', ['container app current -1 next 2 mounted yes linked yes']],
    ['a generation of no container', [`generation app 1 stack ${ID} rootfs copy config ${ID} parent 0`]],
    ['a root filesystem of an unknown kind', [container, `generation app 1 stack ${ID} rootfs nfs config ${ID} parent 0`]],
    ['a stack that is empty', [container, `generation app 1 stack  rootfs copy config ${ID} parent 0`]],
    ['a record that ends too early', [container, `generation app 1 stack ${ID} rootfs copy`]],
    ['a container twice', [container, container]],
    ['a generation twice', [container, ...Array.from({ length: 2 }, () => `generation app 1 stack ${ID} rootfs copy config ${ID} parent 0`)]],
  ])('refuses %s', (_, lines) => {
    expect(() => survey(...lines)).toThrow(expect.objectContaining({ code: 'E_PROTO' }))
  }) // prettier-ignore
})

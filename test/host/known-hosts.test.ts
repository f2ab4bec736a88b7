// The oracle for which lines speak of a host is ssh-keygen -F.
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Decision, KnownHost } from '../../src/host/known-hosts.ts'
import {
  checkHostKey,
  decideHostKey,
  fingerprint,
  knownHostName,
  linesFor,
  parseKnownHosts,
  readKnownHosts,
  typesFor,
} from '../../src/host/known-hosts.ts'

const room = mkdtempSync(join(tmpdir(), 'varve-known-hosts-'))
afterAll(() => rmSync(room, { recursive: true, force: true }))

function makeKey(type: string): { text: string; bytes: Buffer } {
  const file = join(room, `key-${Math.random().toString(36).slice(2)}`)
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', '', '-f', file])
  const text = readFileSync(`${file}.pub`, 'utf8').trim()
  return { text, bytes: Buffer.from(text.split(' ')[1] ?? '', 'base64') }
}

const ED = makeKey('ed25519')
const OTHER = makeKey('ed25519')
const EC = makeKey('ecdsa')

function write(name: string, text: string): string {
  const file = join(room, name)
  writeFileSync(file, text)
  return file
}

function oracle(file: string, host: string): number[] {
  const { stdout } = spawnSync('ssh-keygen', ['-F', host, '-f', file], { encoding: 'utf8' })
  return [...stdout.matchAll(/found: line (\d+)/g)].map((match) => Number(match[1]))
}

const MIXED = [
  '# a comment',
  '',
  `plain ${ED.text} with a comment`,
  `one,two,10.0.0.1 ${ED.text}`,
  `*.example.com,!bad.example.com ${ED.text}`,
  `[ported]:2222 ${ED.text}`,
  `[*.lab]:22?? ${ED.text}`,
  `h?st ${EC.text}`,
  `  indented ${ED.text}`,
  `UPPER ${ED.text}`,
  `@revoked gone ${ED.text}`,
  `@cert-authority *.ca ${ED.text}`,
  `@unheard-of plain ${ED.text}`,
  `sick ssh-ed25519 !!!not-base64!!!`,
  `sick ssh-ed25519 AAAA`,
  `sick ssh-rsa ${ED.text.split(' ')[1]}`,
  `sick`,
  `!plain,plain ${OTHER.text}`,
  `**a**b** ${ED.text}`,
  `tabbed\t${ED.text.replaceAll(' ', '\t')}`,
].join('\n')

describe('linesFor()', () => {
  const file = write('mixed', MIXED)
  const hosts = 'plain one two 10.0.0.1 x.example.com bad.example.com [ported]:2222 ported [a.lab]:2201 [a.lab]:221 '
  const more = 'host hoost indented upper UPPER gone x.ca tabbed nowhere xaxbx aab [ported]:22222 a.b.example.com'
  test.each((hosts + more).split(' '))('finds the lines of %s that ssh-keygen -F finds', (host) => {
    expect(linesFor(host, parseKnownHosts(MIXED, file)).map((line) => line.line)).toEqual(oracle(file, host))
  })

  test('finds hashed names as ssh-keygen -F does', () => {
    const hashed = write('hashed', `plain ${ED.text}\n[ported]:2222 ${EC.text}\nthird ${OTHER.text}\n`)
    execFileSync('ssh-keygen', ['-q', '-H', '-f', hashed], { stdio: 'ignore' })
    const text = readFileSync(hashed, 'utf8')
    expect(text).toMatch(/^\|1\|/)
    for (const host of ['plain', '[ported]:2222', 'third', 'ported', 'x']) {
      const found = linesFor(host, parseKnownHosts(text, hashed)).map((line) => line.line)
      expect([host, found]).toEqual([host, oracle(hashed, host)])
    }
  })

  test('leaves out lines whose key does not parse or is of another type', () => {
    expect(linesFor('sick', parseKnownHosts(MIXED, file))).toEqual([])
  })

  test('survives hashed names that are damaged', () => {
    const text = ['|1|', '|1||', '|2|AAAA|AAAA', '|', '|1|%%%|%%%'].map((name) => `${name} ${ED.text}`).join('\n')
    expect(linesFor('plain', parseKnownHosts(text, 'f'))).toEqual([])
  })

  test('takes linear time for a hostile pattern', () => {
    const text = `${'*a'.repeat(3000)}b ${ED.text}`
    const start = performance.now()
    linesFor('a'.repeat(250), parseKnownHosts(text, 'f'))
    expect(performance.now() - start).toBeLessThan(500)
  })
})

describe('decideHostKey()', () => {
  const cases: [string, string, string, Buffer, Decision][] = [
    ['a key on a line', `h ${ED.text}`, 'h', ED.bytes, { kind: 'known' }],
    ['an empty file', ``, 'h', ED.bytes, { kind: 'unknown' }],
    ['another key', `\nh ${OTHER.text}`, 'h', ED.bytes, { kind: 'changed', file: 'f', line: 2 }],
    ['only another type', `h ${EC.text}`, 'h', ED.bytes, { kind: 'changed', file: 'f', line: 1 }],
    ['one of two keys', `h ${OTHER.text}\nh ${ED.text}`, 'h', ED.bytes, { kind: 'known' }],
    ['a revoked key', `h ${ED.text}\n@revoked * ${ED.text}`, 'h', ED.bytes, { kind: 'revoked', file: 'f', line: 2 }],
    ['another one revoked', `@revoked * ${OTHER.text}`, 'h', ED.bytes, { kind: 'unknown' }],
    [
      'an authority',
      `@cert-authority * ${OTHER.text}`,
      'h',
      ED.bytes,
      { kind: 'unknown', authority: { file: 'f', line: 1 } },
    ],
    [
      "an authority's own key",
      `@cert-authority * ${ED.text}`,
      'h',
      ED.bytes,
      { kind: 'unknown', authority: { file: 'f', line: 1 } },
    ],
    ['a port', `[h]:2222 ${ED.text}`, '[h]:2222', ED.bytes, { kind: 'known' }],
    ['the key of port 22', `h ${ED.text}`, '[h]:2222', ED.bytes, { kind: 'known' }],
    ['another key at port 22', `h ${OTHER.text}`, '[h]:2222', ED.bytes, { kind: 'unknown' }],
    [
      'a port changed, 22 not',
      `h ${ED.text}\n[h]:2222 ${OTHER.text}`,
      '[h]:2222',
      ED.bytes,
      { kind: 'changed', file: 'f', line: 2 },
    ],
    ['revoked at port 22', `@revoked h ${ED.text}`, '[h]:2222', ED.bytes, { kind: 'revoked', file: 'f', line: 1 }],
    ['a negated host', `*,!h ${ED.text}`, 'h', ED.bytes, { kind: 'unknown' }],
    ['a key that is no key', `h ${ED.text}`, 'h', Buffer.from('x'), { kind: 'changed', file: 'f', line: 1 }],
  ]
  test.each(cases)('knows %s', (_title, text, name, key, decision) => {
    expect(decideHostKey(parseKnownHosts(text, 'f'), name, key)).toEqual(decision)
  })
})

test('typesFor() lists what a host is known by, without the revoked', () => {
  const lines = parseKnownHosts(`h ${EC.text}\n@revoked h ${ED.text}\ng ${ED.text}`, 'f')
  expect(typesFor('h', lines)).toEqual(['ecdsa-sha2-nistp256'])
  expect(typesFor('[g]:2200', lines)).toEqual(['ssh-ed25519'])
})

test('knownHostName() writes a port only where it is not 22', () => {
  expect(knownHostName('Web', 22)).toBe('web')
  expect(knownHostName('::1', 2222)).toBe('[::1]:2222')
})

test('fingerprint() is the one that ssh-keygen -l shows', () => {
  const file = write('print.pub', ED.text)
  const shown = execFileSync('ssh-keygen', ['-lf', file], { encoding: 'utf8' }).split(' ')[1]
  expect(fingerprint(ED.bytes)).toBe(`ssh-ed25519 ${shown}`)
})

describe('readKnownHosts()', () => {
  test('takes a missing file for an empty one and reads all others', async () => {
    const file = write('read', `h ${ED.text}\n`)
    const found = await readKnownHosts([join(room, 'missing'), file, join(file, 'below')])
    expect(found.map((line) => [line.file, line.line])).toEqual([[file, 1]])
  })

  test('refuses a file that it cannot read', async () => {
    await expect(readKnownHosts([room])).rejects.toMatchObject({ code: 'E_KNOWN_HOSTS', message: /EISDIR/ })
  })
})

describe('checkHostKey()', () => {
  type Answer = string | undefined
  async function check(
    file: string,
    how: { acceptNew?: boolean; answer?: Answer; lines?: KnownHost[] },
  ): Promise<string[]> {
    const prompts: string[] = []
    const confirm = async (prompt: string): Promise<Answer> => {
      prompts.push(prompt)
      return how.answer
    }
    const policy = { label: 'me@h', acceptNew: how.acceptNew === true, file, confirm }
    await checkHostKey(ED.bytes, 'h', { lines: how.lines ?? [], policy })
    return prompts
  }

  test('asks with the fingerprint and writes an accepted key, private, so that ssh-keygen finds it', async () => {
    const file = join(room, 'new/deep/known_hosts')
    expect((await check(file, { answer: 'yes\n' }))[0]).toContain(fingerprint(ED.bytes))
    expect(oracle(file, 'h')).toEqual([1])
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(join(room, 'new')).mode & 0o777).toBe(0o700)
  })

  test('adds to a last line that has no newline, and leaves the mode alone', async () => {
    const file = write('open-ended', `g ${EC.text}`)
    chmodSync(file, 0o644)
    await check(file, { acceptNew: true })
    expect(readFileSync(file, 'utf8')).toBe(`g ${EC.text}\nh ${ED.text}\n`)
    expect(statSync(file).mode & 0o777).toBe(0o644)
  })

  test.each([undefined, '', 'no', 'y'])('refuses an unknown key at the answer %s', async (answer) => {
    const file = join(room, 'never')
    await expect(check(file, { answer })).rejects.toMatchObject({ code: 'E_HOSTKEY_UNKNOWN', hint: /--accept-new/ })
    await expect(readKnownHosts([file])).resolves.toEqual([])
  })

  test('never asks about a changed or a revoked key, not even with acceptNew', async () => {
    for (const [text, code] of [
      [`h ${OTHER.text}`, 'E_HOSTKEY_CHANGED'],
      [`@revoked h ${ED.text}`, 'E_HOSTKEY_REVOKED'],
    ] as const) {
      const lines = parseKnownHosts(text, '/k')
      await expect(check('/k', { acceptNew: true, answer: 'yes', lines })).rejects.toMatchObject({
        code,
        message: /\/k:1/,
      })
    }
  })

  test('says that a @cert-authority is not supported', async () => {
    const lines = parseKnownHosts(`@cert-authority * ${OTHER.text}`, '/k')
    await expect(check('/k', { lines })).rejects.toThrow(/@cert-authority in \/k:1 is not supported/)
  })

  test('says when an accepted key cannot be written', async () => {
    mkdirSync(join(room, 'directory'))
    await expect(check(join(room, 'directory'), { acceptNew: true })).rejects.toMatchObject({ code: 'E_KNOWN_HOSTS' })
  })
})

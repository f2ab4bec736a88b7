// writeTar: exact for GNU tar in pax, exact for BusyBox tar in gnu, and read back by readTar as it was given.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import { readTar } from '../../src/tar/read.ts'
import { writeTar, type Dialect, type Member } from '../../src/tar/write.ts'
import { chunked, collect } from './raw-header.ts'

const NS = 1_000_000_000n
const SECOND = byteString('d/second')
const CAPABILITY = '\x01\0\0\x02\0\x20\0\0\xff\xff\0\0\0\0\0\0\0\0\0\0'
const ACL_HEX = '0200000001000600ffffffff020004000100000004000400ffffffff10000400ffffffff20000400ffffffff'
const ACL = Buffer.from(ACL_HEX, 'hex').toString('latin1')
const common = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 5n * NS, xattrs: [] }

function file(name: string, more: Partial<Member> & { text?: string } = {}): Member {
  const contents = Buffer.from(more.text ?? '', 'latin1')
  const member = { ...common, ...more, kind: 'file', name: byteString(name), size: contents.length }
  return { ...member, contents: () => contents } as unknown as Member
}

function other(kind: Member['kind'], name: string, more: object = {}): Member {
  return { ...common, kind, name, ...more } as unknown as Member
}

async function write(members: Iterable<Member>, dialect: Dialect = 'pax'): Promise<Buffer> {
  return collect(writeTar(members, dialect))
}

const plain: readonly Member[] = [
  other('directory', 'd', { mode: 0 }),
  file('d/empty', { mode: 0 }),
  file('d/raw\xff\n\xc3\xa9 -', { text: 'abc', mode: 0o6755, uid: 262143, gid: 262143 }),
  file(`d/${'p'.repeat(255)}`, { text: 'x'.repeat(512) }),
  ...[96, 97, 98, 99].map((length) => other('directory', `d/${'q'.repeat(length)}`)),
  other('directory', `d/${'q'.repeat(97)}/${'r'.repeat(99)}`),
  other('directory', `d/${'q'.repeat(97)}/${'r'.repeat(100)}`),
  file(`d/${'q'.repeat(97)}/${'r'.repeat(100)}/${'s'.repeat(200)}`, { text: 'deep' }),
  { ...file('d/streamed'), size: 700_000, contents: () => chunked(Buffer.alloc(700_000, 'z'), 99_999) } as Member,
  { ...file('d/gathered'), size: 7000, contents: () => chunked(Buffer.alloc(7000, 'g'), 999) } as Member,
  other('symlink', 'd/link', { mode: 0o777, target: 'x\xff' }),
  other('symlink', 'd/long', { mode: 0o777, target: 't'.repeat(200) }),
  other('hardlink', SECOND, { target: 'd/streamed' }),
  other('char', 'd/char', { major: 4095, minor: 1_048_575 }),
  other('block', 'd/block', { major: 7, minor: 1, mode: 0o660 }),
  other('fifo', 'd/fifo'),
]
const rich: readonly Member[] = [
  ...plain,
  file('d/owner', { uid: 4_294_967_294, gid: 262_144 }),
  file('d/old', { mtimeNs: -1_500_000_001n }),
  file('d/future', { mtimeNs: (1n << 31n) * NS }),
  other('directory', 'd/fraction', { mtimeNs: 1_234_567_890_123_456_789n }),
  file('d/xattrs', {
    text: 'x',
    xattrs: [
      { name: byteString('security.capability'), value: byteString(CAPABILITY) },
      { name: byteString('system.posix_acl_access'), value: byteString(ACL) },
      { name: byteString('user.a=b%3D'), value: byteString('\n\xff\0=') },
      { name: byteString('user.empty'), value: byteString('') },
    ],
  }),
]

describe('writeTar() is unpacked as it was meant', () => {
  let directory = ''
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'varve-write-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  async function unpack(members: readonly Member[], dialect: Dialect, command: readonly [string, ...string[]]) {
    const into = mkdtempSync(join(directory, 'x-'))
    const archive = join(directory, 'a.tar')
    writeFileSync(archive, await write(members, dialect))
    const [program, ...words] = command
    execFileSync(program, [...words, '-xpf', archive, '-C', into], { stdio: ['ignore', 'inherit', 'pipe'] })
    return into
  }
  test('pax by GNU tar', async () => {
    const into = await unpack(rich, 'pax', ['tar', '--numeric-owner', '--xattrs', '--xattrs-include=*'])
    expect(lasting(found(into, ''))).toEqual(expect.arrayContaining(lasting(expected(rich, ''))))
    checkContents(into, rich)
    const dump = execFileSync('getfattr', ['-d', '-m-', '-e', 'hex', 'd/xattrs'], { cwd: into, encoding: 'utf8' })
    expect(dump.trim().split('\n').slice(1)).toEqual([
      `security.capability=0x${hex(CAPABILITY)}`,
      `system.posix_acl_access=0x${hex(ACL)}`,
      String.raw`user.a\075b%3D=0x0aff003d`,
      'user.empty=0x',
    ])
  })
  test.each([['tar', '--numeric-owner'], ['busybox', 'tar']] as const)('gnu by %s', async (...command) => {
    const into = await unpack(plain, 'gnu', [...command])
    expect(found(into, 'ld')).toEqual(expected(plain, 'ld'))
    checkContents(into, plain)
  }) // prettier-ignore
})

describe('writeTar() refuses', () => {
  test.each<[string, string, Dialect, Member]>([
    ['a large owner in gnu', 'E_LOSS', 'gnu', file('f', { uid: 262_144 })],
    ['a negative time in gnu', 'E_LOSS', 'gnu', file('f', { mtimeNs: -NS })],
    ['a fraction in gnu', 'E_LOSS', 'gnu', file('f', { mtimeNs: 1n })],
    ['an attribute in gnu', 'E_LOSS', 'gnu', file('f', { xattrs: [{ name: byteString('user.a'), value: byteString('') }] })], // prettier-ignore
    ['a large minor number', 'E_DEVICE', 'pax', other('char', 'c', { major: 1, minor: 1_048_576 })],
    ['a large major number', 'E_DEVICE', 'gnu', other('block', 'c', { major: 4096, minor: 1 })],
    ['an empty name', 'E_PATH_EMPTY', 'pax', file('')],
    ['an empty target', 'E_PATH_EMPTY', 'pax', other('symlink', 's', { target: '' })],
    ['too few bytes', 'E_SOURCE_CHANGED', 'pax', { ...file('f', { text: 'abc' }), size: 4 } as Member],
    ['too few streamed bytes', 'E_SOURCE_CHANGED', 'pax', { ...file('f'), size: 400_000, contents: () => chunked(Buffer.alloc(399_999)) } as Member], // prettier-ignore
    ['too many streamed bytes', 'E_SOURCE_CHANGED', 'pax', { ...file('f'), size: 400_000, contents: () => chunked(Buffer.alloc(400_001)) } as Member], // prettier-ignore
  ])('%s', async (_, code, dialect, member) => {
    await expect(write([member], dialect)).rejects.toMatchObject({ code })
  })
  test('what its contents refuse', async () => {
    await expect(write([{ ...file('f'), size: 400_000, contents: interrupted } as Member])).rejects.toThrow('gone')
  })
})

test('writeTar() leaves plain entries at one block', async () => {
  expect(await write([file('a'), file('b')])).toHaveLength(1024 + 1024)
})

test('writeTar() gives pieces of at least 64 KiB', async () => {
  const sizes: number[] = []
  for await (const piece of writeTar(
    Array.from({ length: 2000 }, (_, i) => file(`f${i}`, { text: 'x' })),
    'pax',
  ))
    sizes.push(piece.length)
  expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThanOrEqual(65536)
})

test('writeTar() then readTar() is the same, whatever bytes', async () => {
  const name = bytes(300).filter((text) => !text.endsWith('/'))
  const xattr = fc.record({ name: bytes(40).map((text) => `user.${text}`), value: fc.uint8Array({ maxLength: 80 }).map((array) => Buffer.from(array).toString('latin1')) }) // prettier-ignore
  const metadata = {
    name,
    mode: fc.nat(0o7777),
    uid: fc.nat(0xfffffffe),
    gid: fc.nat(0xfffffffe),
    mtimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    xattrs: fc.uniqueArray(xattr, { maxLength: 3, selector: (one) => one.name }),
  }
  const member = fc.oneof(
    fc.record({ ...metadata, kind: fc.constant('file'), text: fc.uint8Array({ maxLength: 1500 }) }),
    fc.record({ ...metadata, kind: fc.constantFrom('directory', 'fifo') }),
    fc.record({ ...metadata, kind: fc.constantFrom('symlink', 'hardlink'), target: bytes(300) }),
    fc.record({ ...metadata, kind: fc.constantFrom('char', 'block'), major: fc.nat(4095), minor: fc.nat(1_048_575) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(member, { minLength: 1, maxLength: 6 }), async (members) => {
      const given = members.map((one) =>
        'text' in one ? { ...one, size: one.text.length, contents: () => one.text } : one,
      ) as unknown as Member[]
      const archive = await write(given)
      expect(await write(given)).toEqual(archive)
      const back: unknown[] = []
      const options = { limits: { entries: 99, bytes: 99_999 }, onWarning: () => expect.fail('a warning') }
      for await (const { member, contents } of readTar(chunked(archive), options))
        back.push(comparable({ ...member, name: member.path, target: member.linkname }, await collect(contents)))
      expect(back).toEqual(
        members.map((one) => comparable(one, 'text' in one ? Buffer.from(one.text) : Buffer.alloc(0))),
      )
    }),
    { numRuns: 150 },
  )
})

/** What of a member must come back; a directory may end in a slash. */
function comparable(member: object, contents: Buffer): object {
  const { name, kind, mode, uid, gid, mtimeNs, xattrs, target, major, minor } = { target: '', major: 0, minor: 0, ...member } as Record<string, unknown> // prettier-ignore
  const shown = kind === 'directory' ? String(name).replace(/\/$/, '') : name
  return {
    name: shown,
    kind,
    mode,
    uid,
    gid,
    mtimeNs,
    xattrs,
    target,
    major,
    minor,
    contents: contents.toString('hex'),
  }
}

/** What find prints of a tree, by path; times of what BusyBox tar gives none are left out. */
function found(into: string, timeless: string): Map<string, string> {
  const text = execFileSync('find', ['.', '-mindepth', '1', '-printf', String.raw`%P\t%y %m %U:%G %T@ %l\0`], {
    cwd: into,
    encoding: 'latin1',
  })
  const lines = text.split('\0').slice(0, -1)
  return new Map(
    lines.map((line) => {
      const tab = line.indexOf('\t')
      const facts = line.slice(tab + 1)
      return [line.slice(0, tab), timeless.includes(facts[0] ?? '') ? facts.replace(/ -?\d+\.\d+ /, ' ') : facts]
    }),
  )
}
function expected(members: readonly Member[], timeless: string): Map<string, string> {
  const letters = { file: 'f', hardlink: 'f', directory: 'd', symlink: 'l', char: 'c', block: 'b', fifo: 'p' }
  return new Map(
    members.map((member) => {
      const letter = letters[member.kind]
      const ns = ((member.mtimeNs % NS) + NS) % NS
      const seconds = (member.mtimeNs - ns) / NS
      const time = timeless.includes(letter) ? '' : ` ${seconds}.${String(ns).padStart(9, '0')}0`
      const target = member.kind === 'symlink' ? member.target : ''
      return [member.name, `${letter} ${member.mode.toString(8)} ${member.uid}:${member.gid}${time} ${target}`]
    }),
  )
}
function checkContents(into: string, members: readonly Member[]): void {
  const stat = (format: string, name: string): string =>
    execFileSync('stat', ['-c', format, join(into, name)], { encoding: 'utf8' }).trim()
  expect(stat('%t:%T', 'd/char')).toBe('fff:fffff')
  expect(stat('%t:%T', 'd/block')).toBe('7:1')
  expect(stat('%i', 'd/second')).toBe(stat('%i', 'd/streamed'))
  expect(stat('%s', 'd/streamed')).toBe('700000')
  const deep = members.find((member) => member.name.endsWith('s'.repeat(200)))
  expect(execFileSync('cat', [join(into, deep?.name ?? '')], { encoding: 'utf8' })).toBe('deep')
  expect(execFileSync('tr', ['-d', 'z'], { input: execFileSync('cat', [join(into, 'd/streamed')]) })).toHaveLength(0)
}

/** Without directories whose time unpacking changes again. */
function lasting(members: Map<string, string>): [string, string][] {
  return [...members].filter(([name]) => !/^d\/q+$|^d$/.test(name))
}

function hex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex')
}

function bytes(maxLength: number): fc.Arbitrary<string> {
  return fc.uint8Array({ minLength: 1, maxLength, min: 1 }).map((array) => Buffer.from(array).toString('latin1'))
}

async function* interrupted(): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(Buffer.alloc(300_000))
  throw new Error('gone')
}

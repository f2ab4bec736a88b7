// readTar: what it makes of members, and by what name it refuses an archive that two readers read differently.
import { describe, expect, test } from 'vitest'
import { readTar, type ReadTarOptions, type TarMember } from '../../src/tar/read.ts'
import { chunked, collect, rawArchive, rawBase256, rawHeader, rawMember, rawPax, rawRecord } from './raw-header.ts'

const limits = { entries: 1000, bytes: 2 ** 30 }

async function read(archive: Uint8Array, options: Partial<ReadTarOptions> = {}) {
  const members: (TarMember & { readonly text: string })[] = []
  const warnings: string[] = []
  const onWarning = ({ code }: { code: string }): void => void warnings.push(code)
  for await (const { member, contents } of readTar(chunked(archive), { limits, onWarning, ...options }))
    members.push({ ...member, text: (await collect(contents)).toString('latin1') })
  return { members, warnings }
}

async function first(...parts: Buffer[]) {
  const { members } = await read(rawArchive(...parts))
  return members[0]
}

const file = rawMember({ name: 'f' }, 'hello')

describe('readTar(), where an archive may end unpadded,', () => {
  const options = { mayEndUnpadded: true }
  test('reads what ends with the last byte of contents', async () => {
    const { members, warnings } = await read(Buffer.concat([file, file.subarray(0, 517)]), options)
    expect(members.map(({ text }) => text)).toEqual(['hello', 'hello'])
    expect(warnings).toEqual(['W_TAR_EOF'])
  })
  test.each([516, 518, 1000])('refuses what is cut after %i bytes', async (bytes) => {
    await expect(read(file.subarray(0, bytes), options)).rejects.toMatchObject({ code: 'E_TAR_TRUNC' })
  })
})

describe('readTar() refuses', () => {
  const cases: Record<string, [code: string, archive: Buffer]> = {
    '1 an empty file': ['E_TAR_EMPTY', Buffer.alloc(0)],
    '2 an ELF file': ['E_TAR_FORMAT', Buffer.concat([Buffer.from('\x7fELF\x02\x01\x01\0'), Buffer.alloc(2000, 0x90)])],
    '2 an HTML page': ['E_TAR_FORMAT', Buffer.from(`<!doctype html>${'<p>hello</p>'.repeat(100)}`)],
    '2 a short text': ['E_TAR_FORMAT', Buffer.from('hello\n')],
    '3 the first header cut': ['E_TAR_TRUNC', rawHeader({}).subarray(0, 300)],
    '3 the first header cut early': ['E_TAR_TRUNC', rawHeader({}).subarray(0, 60)],
    '3 a later header cut': ['E_TAR_TRUNC', Buffer.concat([file, rawHeader({}).subarray(0, 100)])],
    '4 data cut': ['E_TAR_TRUNC', rawMember({}, 'x'.repeat(2000)).subarray(0, 1500)],
    '4 padding cut': ['E_TAR_TRUNC', file.subarray(0, 600)],
    '6 a bad checksum': ['E_TAR_CHECKSUM', rawArchive(rawMember({ checksum: '000001\0 ' }))],
    '7 garbage between members': ['E_TAR_FORMAT', rawArchive(file, Buffer.alloc(512, 0x5a), file)],
    '8 a member behind the end': ['E_TAR_TRAILING', Buffer.concat([rawArchive(file), file])],
    '8 a member behind half an end': ['E_TAR_TRAILING', Buffer.concat([file, Buffer.alloc(512), file])],
    '8 a member far behind the end': ['E_TAR_TRAILING', Buffer.concat([rawArchive(file), Buffer.alloc(9216), file])],
    '9 a negative size': ['E_TAR_SIZE', rawArchive(rawMember({ size: rawBase256(-5n, 12) }))],
    '10 a size above 2^53': ['E_TAR_SIZE', rawArchive(rawMember({ size: rawBase256(1n << 60n, 12) }))],
    '10 a size that is no number': ['E_TAR_SIZE', rawArchive(rawMember({ size: '0000zzz0000\0' }))],
    'a directory with contents': ['E_TAR_SIZE', rawArchive(rawMember({ type: '5' }, 'hello'))],
    'a hard link with contents': ['E_TAR_SIZE', rawArchive(file, rawMember({ type: '1', linkname: 'f' }, 'hello'))],
    '11 two sizes': ['E_TAR_PAX', rawArchive(rawPax([['size', '0']]), file)],
    '11 a size above that of the header': ['E_TAR_PAX', rawArchive(rawPax([['size', '1024']]), rawMember({ size: 0 }))],
    '12 PAX before L': ['E_TAR_PAX', rawArchive(rawPax([['mtime', '1']]), long('L', 'n\0'), file)],
    '12 PAX before K': ['E_TAR_PAX', rawArchive(rawPax([['mtime', '1']]), long('K', 'n\0'), file)],
    '13 a record too long': ['E_TAR_PAX', rawArchive(rawMember({ type: 'x' }, '99 path=x\n'), file)],
    '13 a record too short': ['E_TAR_PAX', rawArchive(rawMember({ type: 'x' }, '7 path=x\n'), file)],
    '13 a length that is no number': ['E_TAR_PAX', rawArchive(rawMember({ type: 'x' }, '1e1 path=x\n'), file)],
    '13 a record without a key': ['E_TAR_PAX', rawArchive(rawMember({ type: 'x' }, '5 =x\n'), file)],
    '13 an empty extended header': ['E_TAR_PAX', rawArchive(rawMember({ type: 'x' }), file)],
    '14 PAX above 1 MiB': ['E_TAR_PAX', rawArchive(rawPax([['comment', 'x'.repeat(1 << 20)]]), file)],
    '15 NUL in the path': ['E_TAR_PAX', rawArchive(rawPax([['path', 'a\0b']]), file)],
    '15 NUL in the link path': ['E_TAR_PAX', rawArchive(rawPax([['linkpath', 'a\0b']]), file)],
    'an empty path': ['E_TAR_PAX', rawArchive(rawPax([['path', '']]), file)],
    '16 a global path': ['E_TAR_PAX', rawArchive(rawPax([['path', 'x']], 'g'), file)],
    '16 a global size': ['E_TAR_PAX', rawArchive(rawPax([['size', '5']], 'g'), file)],
    '16 a global attribute': ['E_TAR_PAX', rawArchive(rawPax([['SCHILY.xattr.user.a', '5']], 'g'), file)],
    'two PAX headers': ['E_TAR_PAX', rawArchive(rawPax([['uid', '1']]), rawPax([['uid', '2']]), file)],
    'a key with two values': ['E_TAR_PAX', rawArchive(rawPax([['path', 'a'], ['path', 'b']]), file)], // prettier-ignore
    'two attributes of one name': ['E_TAR_PAX', rawArchive(rawPax([['SCHILY.xattr.user.a', 'x'], ['LIBARCHIVE.xattr.user.a', 'eQ']]), file)], // prettier-ignore
    'a path and a long name': ['E_TAR_PAX', rawArchive(long('L', 'n\0'), rawPax([['path', 'm']]), file)],
    'an ACL of a name without a number': ['E_TAR_PAX', rawArchive(rawPax([['SCHILY.acl.access', 'user::rw-\nuser:joe:r--\ngroup::r--\nmask::r--\nother::r--\n']]), file)], // prettier-ignore
    'an ACL without its parts': ['E_TAR_PAX', rawArchive(rawPax([['SCHILY.acl.access', 'user::rw-']]), file)],
    'a volume': ['E_TAR_PAX', rawArchive(rawPax([['GNU.volume.offset', '5']]), file)],
    'PAX with nothing behind': ['E_TAR_PAX', rawArchive(rawPax([['path', 'm']]))],
    '17 L with nothing behind': ['E_TAR_LONGLINK', rawArchive(long('L', 'n\0'))],
    '17 L at the end of the file': ['E_TAR_LONGLINK', long('L', 'n\0')],
    'L twice': ['E_TAR_LONGLINK', rawArchive(long('L', 'n\0'), long('L', 'm\0'), file)],
    'NUL in a long name': ['E_TAR_LONGLINK', rawArchive(long('L', 'n\0m\0'), file)],
    'L above 1 MiB': ['E_TAR_LONGLINK', rawArchive(long('L', 'x'.repeat(1 << 21)), file)],
    '19 PAX sparse of an unknown version': ['E_TAR_SPARSE', rawArchive(rawPax([['GNU.sparse.major', '2'], ['GNU.sparse.minor', '0'], ['GNU.sparse.realsize', '9']]), file)], // prettier-ignore
    '19 a sparse map that overlaps': ['E_TAR_SPARSE', rawArchive(rawPax([['GNU.sparse.size', '99'], ['GNU.sparse.map', '0,3,2,2']]), file)], // prettier-ignore
    '19 a sparse map beyond the file': ['E_TAR_SPARSE', rawArchive(rawPax([['GNU.sparse.size', '99'], ['GNU.sparse.map', '98,5']]), file)], // prettier-ignore
    '19 a sparse map that is not what is stored': ['E_TAR_SPARSE', rawArchive(rawPax([['GNU.sparse.size', '99'], ['GNU.sparse.map', '0,4']]), file)], // prettier-ignore
    '19 a sparse directory': ['E_TAR_SPARSE', rawArchive(rawPax([['GNU.sparse.size', '9'], ['GNU.sparse.map', '']]), rawMember({ type: '5' }))], // prettier-ignore
    '19 S in a header that is not GNU': ['E_TAR_SPARSE', rawArchive(rawMember({ type: 'S' }, 'hello'))],
    '20 a sparse file of 8 TiB': ['E_LIMIT_BYTES', rawArchive(rawPax([['GNU.sparse.size', String(2 ** 43)], ['GNU.sparse.map', '0,5']]), file)], // prettier-ignore
    'more entries than allowed': ['E_LIMIT_ENTRIES', rawArchive(...Array.from({ length: 1001 }, () => file))],
    'an unknown kind of tar': ['E_TAR_FORMAT', rawArchive(rawMember({ magic: 'ustarXX0' }))],
    xstar: ['E_TAR_FORMAT', rawArchive(rawMember({ patch: { 508: 'tar\0' } }))],
    '45 an owner that no number holds': ['E_OWNER', rawArchive(rawMember({ uid: rawBase256(1n << 54n, 8) }))],
    '50 a time that is no number': ['E_MTIME', rawArchive(rawPax([['mtime', 'NaN']]), file)],
    '50 a header time that is no number': ['E_MTIME', rawArchive(rawMember({ mtime: 'yesterday\0' }))],
    'a device that is no number': ['E_DEVICE', rawArchive(rawMember({ type: '3', major: 'x' }))],
  }
  for (const type of ['M', 'V', 'N', 'D', '7', 'X', 'A', '9'])
    cases[`18 type ${type}`] = ['E_TAR_TYPE', rawArchive(rawMember({ type }))]
  test.each(Object.entries(cases))('%s', async (_, [code, archive]) => {
    await expect(read(archive)).rejects.toMatchObject({ code })
  })
})

test('readTar() says where the fault is', async () => {
  const archive = rawArchive(file, rawMember({ checksum: '000001\0 ' }))
  await expect(read(archive, { archive: '"x.tar"' })).rejects.toThrow(
    'cannot read "x.tar" at byte 1024: the header checksum is wrong',
  )
})

describe('readTar() takes with a warning', () => {
  test.each([
    ['5 no end marker', file, ['W_TAR_EOF']],
    ['5 half an end marker', Buffer.concat([file, Buffer.alloc(512)]), ['W_TAR_EOF']],
    ['bytes behind the end', Buffer.concat([rawArchive(file), Buffer.from('junk')]), ['W_TRAILING']],
    ['nothing amiss', rawArchive(file, Buffer.alloc(9216)), []],
  ])('%s', async (_, archive, expected) => {
    const { members, warnings } = await read(archive)
    expect(members).toHaveLength(1)
    expect(warnings).toEqual(expected)
  })
})

describe('readTar() reads', () => {
  test('a plain header', async () => {
    const header = { name: 'n\xff\n', mode: '0104755\0', uid: '0000012\0', gid: '     7 \0', mtime: '00000000011 ' }
    expect(await first(rawMember(header, 'hi'))).toEqual({
      path: 'n\xff\n', kind: 'file', mode: 0o4755, uid: 10, gid: 7, mtimeNs: 9_000_000_000n, size: 2, linkname: '',
      major: 0, minor: 0, xattrs: [], offset: 512, text: 'hi',
    }) // prettier-ignore
  })
  test.each<[string, Buffer[], Partial<TarMember> & { text?: string }]>([
    ['a prefix', [rawMember({ prefix: 'a/b', name: 'c' })], { path: 'a/b/c' as never }],
    ['a name of 100 bytes', [rawMember({ name: 'n'.repeat(100) })], { path: 'n'.repeat(100) as never }],
    ['V7', [rawMember({ magic: '\0\0\0\0\0\0\0\0', type: '\0', prefix: 'x' }, 'v7')], { kind: 'file', path: 'f' as never, text: 'v7' }],
    ['a directory of V7', [rawMember({ magic: '', type: '\0', name: 'd/' })], { kind: 'directory' }],
    ['a signed checksum', [signedChecksum()], { path: '\xff\xfe' as never }],
    ['GNU with times where ustar has its prefix', [rawMember({ magic: 'ustar  \0', prefix: '00000000001\0' })], { path: 'f' as never }],
    ['a negative time', [rawMember({ mtime: rawBase256(-2n, 12) })], { mtimeNs: -2_000_000_000n }],
    ['a large owner', [rawMember({ uid: rawBase256(4_000_000_000n, 8) })], { uid: 4_000_000_000 }],
    ['a negative owner', [rawMember({ gid: rawBase256(-1n, 8) })], { gid: -1 }],
    ['an empty number', [rawMember({ uid: '\0\0\0\0\0\0\0\0', gid: '        ' })], { uid: 0, gid: 0 }],
    ['a long name', [rawMember({ type: 'L' }, 'l\xff\0'), rawMember({}, 'x')], { path: 'l\xff' as never, text: 'x' }],
    ['a long link', [rawMember({ type: 'K' }, 't\xff\0'), rawMember({ type: '2' })], { linkname: 't\xff' as never }],
    ['PAX names', [rawPax([['path', 'p\n\xff'], ['linkpath', 'l=\n']]), rawMember({ type: '2' })], { path: 'p\n\xff' as never, linkname: 'l=\n' as never }],
    ['PAX owners', [rawPax([['uid', '4294967294'], ['gid', '300000']]), file], { uid: 4294967294, gid: 300000 }],
    ['PAX time to the nanosecond', [rawPax([['mtime', '1700000000.1234567891']]), file], { mtimeNs: 1700000000123456789n }],
    ['PAX time below zero', [rawPax([['mtime', '-1.5']]), file], { mtimeNs: -1500000000n }],
    ['PAX time below zero, rounded down', [rawPax([['mtime', '-0.0000000001']]), file], { mtimeNs: -1n }],
    ['a global time', [rawPax([['mtime', '5'], ['comment', 'x']], 'g'), file], { mtimeNs: 5_000_000_000n }],
    ['a global time overridden', [rawPax([['mtime', '5']], 'g'), rawPax([['mtime', '6']]), file], { mtimeNs: 6_000_000_000n }],
    ['the last of two global times', [rawPax([['mtime', '5']], 'g'), rawPax([['mtime', '7']], 'g'), file], { mtimeNs: 7_000_000_000n }],
    ['attributes as bytes', [rawPax([['SCHILY.xattr.user.b%3D%25%41', '\xff\0\n=']]), file], { xattrs: [{ name: 'user.b=%%41' as never, value: '\xff\0\n=' as never }] }],
    ['attributes of libarchive', [rawPax([['LIBARCHIVE.xattr.user.%FF', '/w']]), file], { xattrs: [{ name: 'user.\xff' as never, value: '\xff' as never }] }],
    ['records that mean nothing here', [rawPax([['atime', '1'], ['uname', 'joe'], ['VENDOR.thing', 'x'], ['charset', 'BINARY']]), file], { path: 'f' as never }],
    ['a device', [rawMember({ type: '4', major: '0000010\0', minor: '0000003\0' })], { kind: 'block', major: 8, minor: 3 }],
    ['a fifo', [rawMember({ type: '6', major: '0000010\0' })], { kind: 'fifo', major: 0 }],
    ['PAX sparse 0.1', [rawPax([['GNU.sparse.name', 's'], ['GNU.sparse.size', '8'], ['GNU.sparse.numblocks', '2'], ['GNU.sparse.map', '1,2,4,3']]), file], { path: 's' as never, size: 8, text: '\0he\0llo\0' }],
    ['PAX sparse 0.0', [rawPax([['GNU.sparse.size', '8'], ['GNU.sparse.offset', '1'], ['GNU.sparse.numbytes', '2'], ['GNU.sparse.offset', '4'], ['GNU.sparse.numbytes', '3']]), file], { size: 8, text: '\0he\0llo\0' }],
    ['PAX sparse 1.0', [rawPax([['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.name', 's'], ['GNU.sparse.realsize', '8']]), rawMember({ name: 'G' }, '2\n1\n2\n4\n3\n'.padEnd(512, '\0') + 'hello')], { path: 's' as never, size: 8, offset: 2048, text: '\0he\0llo\0' }],
  ])('%s', async (_, parts, expected) => {
    expect(await first(...parts)).toMatchObject(expected)
  }) // prettier-ignore

  test('an old GNU sparse file with a further block of its map', async () => {
    const pairs = Array.from({ length: 6 }, (_, i) => at(10 * i) + at(1))
    const header = { type: 'S', size: 6, magic: 'ustar  \0', patch: { 386: pairs.slice(0, 4).join(''), 482: '\x01', 483: at(60) } } // prettier-ignore
    const more = Buffer.alloc(512)
    more.write(pairs.slice(4).join(''), 'latin1')
    const body = Buffer.alloc(512)
    body.write('abcdef')
    const member = await first(rawHeader(header), more, body)
    expect(member).toMatchObject({ size: 60, offset: 1024 })
    expect(member?.text).toBe(Array.from('abcdef', (letter) => letter.padEnd(10, '\0')).join(''))
  })
  test('an ACL in text as the kernel has it', async () => {
    const text = 'user::rw-\nuser:lp:r--:7\ngroup::r--\ngroup:1000:r-x\t#effective:r--\nmask::r--\nother::---\n'
    const member = await first(rawPax([['SCHILY.acl.access', text]]), file)
    expect(Buffer.from(member?.xattrs[0]?.value ?? '', 'latin1').toString('hex')).toBe(
      '0200000001000600ffffffff020004000700000004000400ffffffff08000500e803000010000400ffffffff20000000ffffffff',
    )
  })
  test('members whose contents nobody asked for', async () => {
    const paths: string[] = []
    const archive = rawArchive(rawMember({ name: 'a' }, 'x'.repeat(5000)), rawMember({ name: 'b' }, 'y'))
    for await (const { member, contents } of readTar(chunked(archive, 7), { limits, onWarning: () => {} })) {
      paths.push(member.path)
      for await (const _ of contents) break
    }
    expect(paths).toEqual(['a', 'b'])
  })
  test('contents that are asked for too late by refusing', async () => {
    const members = readTar(chunked(rawArchive(file, file)), { limits, onWarning: () => {} })
    const { value } = await members.next()
    await members.next()
    await expect(collect(value?.contents)).rejects.toMatchObject({ code: 'E_BUG' })
  })
  test('an archive of nothing', async () => {
    expect((await read(Buffer.alloc(10240))).members).toEqual([])
  })
})

test('rawRecord() counts itself', () => {
  expect(rawRecord('a', 'b')).toBe('6 a=b\n')
  expect(rawRecord('path', 'x'.repeat(91))).toMatch(/^101 /)
})

function signedChecksum(): Buffer {
  const block = rawHeader({ name: '\xff\xfe' })
  const sum = Number.parseInt(block.toString('latin1', 148, 154), 8)
  return rawHeader({ name: '\xff\xfe', checksum: `${(sum - 512).toString(8).padStart(6, '0')}\0 ` })
}

function long(type: 'L' | 'K', text: string): Buffer {
  return rawMember({ name: '././@LongLink', type }, text)
}

function at(offset: number): string {
  return `${offset.toString(8).padStart(11, '0')}\0`
}

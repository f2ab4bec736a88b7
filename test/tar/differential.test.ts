// readTar against GNU tar and Python's tarfile, over archives that GNU tar made of an odd tree.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readTar, type TarMember } from '../../src/tar/read.ts'
import { chunked } from './raw-header.ts'

const MAKE_TREE = String.raw`
set -eu
mkdir -p d/deep
printf hello > d/file; chmod 4755 d/file; chown 1:2 d/file; touch -d @1700000000.123456789 d/file
printf x > "$(printf 'd/raw\377\n\\\t name')"
: > "d/$(printf 'n%.0s' $(seq 255))"
p=d/deep; for i in 1 2 3 4 5 6; do p="$p/$(printf 'p%.0s' $(seq 60))"; done; mkdir -p "$p"; printf deep > "$p/f"
ln -s "$(printf 't%.0s' $(seq 300))" d/longlink
ln -s "$(printf 'bad\376')" d/rawlink
ln d/file d/second
mknod d/char c 5 300; mknod d/block b 8 1; mkfifo d/fifo
truncate -s 3M d/sparse; printf data | dd of=d/sparse bs=1 seek=1048576 conv=notrunc 2>/dev/null
truncate -s 1M d/hole
i=0; truncate -s 2M d/holes; while [ $i -lt 40 ]; do printf "$i" | dd of=d/holes bs=1 seek=$((i * 49152)) conv=notrunc 2>/dev/null; i=$((i + 1)); done
touch -d @-1.5 d/old; touch -d @5000000000 d/late; touch d/big; chown 3000000000:300000 d/big
`

const FORMATS: readonly (readonly string[])[] = [
  ['--format=posix'],
  ['--format=gnu'],
  ['--format=posix', '-S', '--sparse-version=1.0'],
  ['--format=posix', '-S', '--sparse-version=0.1'],
  ['--format=posix', '-S', '--sparse-version=0.0'],
  ['--format=gnu', '-S'],
  ['--format=posix', '--pax-option=globexthdr.name=g,comment=hello,exthdr.name=%d/%f'],
]

describe('readTar() agrees', () => {
  let directory = ''
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'varve-differential-'))
    execFileSync('sh', ['-c', MAKE_TREE], { cwd: directory, stdio: ['ignore', 'ignore', 'inherit'] })
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  function tar(words: readonly string[]): Buffer {
    return execFileSync('tar', ['--numeric-owner', ...words, '-cf', '-', 'd'], { cwd: directory, maxBuffer: 1 << 28 })
  }

  test.each(FORMATS.map((words) => [words.join(' '), words] as const))('with tar -x of %s', async (_, words) => {
    const archive = tar(words)
    const ours = new Map((await readAll(archive)).map((member) => [member.path.replace(/\/$/, ''), member]))
    const into = mkdtempSync(join(directory, 'x-'))
    execFileSync('tar', ['--numeric-owner', '-xpf', '-', '-C', into], {
      input: archive,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    expect(unpacked(into)).toEqual(inThought(ours))
    const segments = ['d/sparse', 'd/holes'].map((path) => ours.get(path)?.sparse?.segments.length)
    // one run of data; more runs than one header or one further block of the old format holds
    expect(segments).toEqual(words.includes('-S') ? [1, 40] : [undefined, undefined])
  })

  test.each(FORMATS.map((words) => [words.join(' '), words] as const))('with tarfile of %s', async (_, words) => {
    const archive = tar(words)
    const script = `
import tarfile, sys, hashlib
t = tarfile.open(fileobj=sys.stdin.buffer, mode='r|', encoding='latin1', errors='surrogateescape')
kinds = {b'0': 'file', b'\\0': 'file', b'S': 'file', b'1': 'hardlink', b'2': 'symlink', b'3': 'char', b'4': 'block', b'5': 'directory', b'6': 'fifo'}
for m in t:
    h = hashlib.sha256(t.extractfile(m).read()).hexdigest() if m.isreg() else ''
    f = [m.name.rstrip('/'), kinds.get(m.type, '?'), m.mode, m.uid, m.gid, m.size if m.isreg() else 0, m.linkname, h]
    sys.stdout.buffer.write('|'.join(map(str, f)).encode('utf8', 'surrogateescape') + b'\\0')
`
    const python = execFileSync('python3', ['-c', script], { input: archive, maxBuffer: 1 << 28 })
    const theirs = python.toString('latin1').split('\0').slice(0, -1) // prettier-ignore
    const ours = (await readAll(archive)).map((m) =>
      [m.path.replace(/\/$/, ''), m.kind, m.mode, m.uid, m.gid, m.size, m.linkname, m.kind === 'file' ? m.sha256 : ''].join('|'),
    ) // prettier-ignore
    expect(withoutRawNames(ours)).toEqual(withoutRawNames(theirs))
    expect(ours).toHaveLength(theirs.length)
  })

  test('with the kernel about attributes, capabilities and access control lists', async () => {
    execFileSync('sh', ['-c', 'mkdir a; : > a/f; setfacl -m u:7:r,g:1000:rx a/f; setcap cap_net_raw+ep a/f; setfattr -n user.bin -v 0xff000a3d a/f; setfattr -n user.a=b% -v x a/f; setfacl -d -m u:7:rwx a'], { cwd: directory }) // prettier-ignore
    const archive = execFileSync('tar', ['--numeric-owner', '--format=posix', '--xattrs', '--xattrs-include=*', '--acls', '-cf', '-', 'a'], { cwd: directory }) // prettier-ignore
    const dump = execFileSync('getfattr', ['-d', '-m-', '-e', 'hex', 'a', 'a/f'], { cwd: directory, encoding: 'utf8' })
    const expected = dump.trim().split('\n').filter((line) => line.includes('=0x') && !line.startsWith('security.selinux')).toSorted() // prettier-ignore
    const ours = (await readAll(archive)).flatMap(({ xattrs }) =>
      xattrs.map(({ name, value }) => `${name.replace('=', String.raw`\075`)}=0x${Buffer.from(value, 'latin1').toString('hex')}`),
    ) // prettier-ignore
    expect(ours.toSorted()).toEqual(expected)
    expect(expected).toHaveLength(5)
  })
})

async function readAll(archive: Buffer): Promise<(TarMember & { sha256: string })[]> {
  const members: (TarMember & { sha256: string })[] = []
  const options = { limits: { entries: 9999, bytes: 1 << 30 }, onWarning: () => expect.fail('a warning') }
  for await (const { member, contents } of readTar(chunked(archive, 65536), options)) {
    const hash = createHash('sha256')
    for await (const chunk of contents) hash.update(chunk)
    members.push({ ...member, sha256: hash.digest('hex') })
  }
  return members
}

/** How an archive has bytes that are not UTF-8 is where Python differs from all others. */
function withoutRawNames(lines: readonly string[]): string[] {
  return lines.filter((line) => !line.includes('raw'))
}

type Facts = readonly [path: string, letter: string, mode: string, owner: string, mtimeNs: string, more: string]

function unpacked(into: string): Facts[] {
  const format = String.raw`%p\0%y\0%m\0%U:%G\0%T@\0%l\0`
  const words = execFileSync('find', ['d', '-printf', format], { cwd: into, encoding: 'latin1' }).split('\0')
  const facts: Facts[] = []
  for (let i = 0; i + 6 < words.length; i += 6) {
    const [path = '', letter = '', mode = '', owner = '', time = '', target = ''] = words.slice(i, i + 6)
    const [, seconds = '', fraction = ''] = /^(-?\d+)\.(\d{9})/.exec(time) ?? []
    const more = letter === 'f' ? sha256(readFileSync(Buffer.from(`${into}/${path}`, 'latin1'))) : target
    facts.push([path, letter, mode, owner, String(BigInt(seconds) * 1_000_000_000n + BigInt(fraction)), more])
  }
  return facts.toSorted(byPath)
}

function inThought(members: ReadonlyMap<string, TarMember & { sha256: string }>): Facts[] {
  const letters = { file: 'f', hardlink: '?', directory: 'd', symlink: 'l', char: 'c', block: 'b', fifo: 'p' }
  const facts = [...members].map(([path, member]): Facts => {
    const { kind, mode, uid, gid, mtimeNs, linkname, sha256 } =
      member.kind === 'hardlink' ? (members.get(member.linkname) ?? member) : member
    const more = kind === 'file' ? sha256 : linkname
    return [path, letters[kind], mode.toString(8), `${uid}:${gid}`, String(mtimeNs), more]
  })
  return facts.toSorted(byPath)
}

function byPath(a: Facts, b: Facts): number {
  return a[0] < b[0] ? -1 : 1
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

// readTar against GNU tar and Python's tarfile, over archives that GNU tar made of an odd tree.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
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
    const listing = execFileSync('find', ['d', '-printf', String.raw`%p\0%y\0%m\0%U\0%G\0%T@\0%s\0%l\0`], { cwd: into, encoding: 'latin1' }) // prettier-ignore
    const words8 = listing.split('\0')
    let seen = 0
    for (let i = 0; i + 8 < words8.length; i += 8, seen++) {
      const [path = '', letter = '', mode, uid, gid, time = '', size, target] = words8.slice(i, i + 8)
      let member = ours.get(path)
      expect(member, path).toBeDefined()
      if (member?.kind === 'hardlink') member = ours.get(member.linkname)
      const letters: Record<string, string> = {
        file: 'f',
        directory: 'd',
        symlink: 'l',
        char: 'c',
        block: 'b',
        fifo: 'p',
      }
      const seconds = /^(-?\d+)\.(\d{9})/.exec(time)
      const mtimeNs = BigInt(seconds?.[1] ?? 0) * 1_000_000_000n + BigInt(seconds?.[2] ?? 0)
      expect({ path, letter: letters[member?.kind ?? ''], mode: member?.mode.toString(8), uid: member?.uid, gid: member?.gid, mtimeNs: member?.mtimeNs, target: member?.linkname }).toEqual({ path, letter, mode, uid: Number(uid), gid: Number(gid), mtimeNs, target }) // prettier-ignore
      if (letter !== 'f') continue
      expect(member?.size).toBe(Number(size))
      const contents = execFileSync('cat', ['--', Buffer.from(path, 'latin1').toString('latin1') === path && !/[\x80-\xff]/.test(path) ? path : 'd/file'], { cwd: into, maxBuffer: 1 << 28 }) // prettier-ignore
      if (!/[\x80-\xff]/.test(path)) expect(member?.sha256).toBe(createHash('sha256').update(contents).digest('hex'))
    }
    expect(seen).toBe(ours.size)
    if (words.includes('-S')) expect(ours.get('d/sparse')?.sparse?.segments).toHaveLength(1)
    if (words.includes('-S')) expect(ours.get('d/holes')?.sparse?.segments.length).toBeGreaterThan(21)
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
    const withoutRawNames = (lines: readonly string[]) => lines.filter((line) => !/raw/.test(line))
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

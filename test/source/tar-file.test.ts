// openTarFile: the same tree and the same bytes from a plain file, a compressed one, a pipe and standard input.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import { filesOf } from '../../src/model/tree.ts'
import { openTarFile, type TarFileOptions } from '../../src/source/tar-file.ts'
import { collect, rawArchive, rawMember } from '../tar/raw-header.ts'

let directory = ''
let spoolDirectory = ''
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'varve-tar-file-'))
  spoolDirectory = join(directory, 'spool')
  mkdirSync(spoolDirectory)
  const script = String.raw`
    mkdir -p r/d; printf hello > r/a; printf x > "r/$(printf 'raw\377')"; : > r/empty; ln r/a r/d/z
    head -c 3000000 /dev/urandom > r/d/large; truncate -s 4M r/holes; printf mid | dd of=r/holes bs=1 seek=2000000 conv=notrunc 2>/dev/null
    tar --format=posix -S -cf t.tar -C r .
    gzip -k t.tar; zstd -qk t.tar; xz -0k t.tar`
  execFileSync('sh', ['-ec', script], { cwd: directory })
})
afterAll(() => rmSync(directory, { recursive: true }))

function open(location: string, more: Partial<TarFileOptions> = {}) {
  return openTarFile(location, { stdin: Readable.from([]), spoolDirectory, onWarning: () => {}, ...more })
}
function inDirectory(name: string, bytes?: Buffer): string {
  const path = join(directory, name)
  if (bytes !== undefined) writeFileSync(path, bytes)
  return path
}
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describe('openTarFile() reads', () => {
  test.each(['t.tar', 't.tar.gz', 't.tar.zst', 't.tar.xz', '- t.tar', '- t.tar.gz', '/dev/fd t.tar'])(
    '%s, and its contents again',
    async (name) => {
      const input = (file: string) => execFileSync('cat', [inDirectory(file)], { maxBuffer: 1 << 28 })
      let file
      if (name.startsWith('- ')) file = await open('-', { stdin: Readable.from([input(name.slice(2))]) })
      else if (name.startsWith('/dev/fd')) file = await open(fifoOf(inDirectory('t.tar')))
      else file = await open(inDirectory(name))
      await using opened = file
      const files = filesOf(opened.tree)
      expect(files.map(({ path }) => path)).toEqual(['a', 'd/large', 'd/z', 'empty', 'holes', 'raw\xff'])
      expect(files[2]?.first).toBe('a')
      for (const { path, sha256: expected } of files) {
        expect(sha256(opened.readSmall(path))).toBe(expected)
        expect(sha256(await collect(opened.contents(path)))).toBe(expected)
      }
      expect(files.find(({ path }) => path === 'holes')?.sha256).toBe(
        sha256(execFileSync('cat', [inDirectory('r/holes')], { maxBuffer: 1 << 28 })),
      )
      expect(readdirSync(spoolDirectory)).toEqual([])
    },
  )
  test('with progress and warnings', async () => {
    const told: number[] = []
    const warnings: string[] = []
    await using _ = await open(inDirectory('w.tar', rawMember({ name: '/f' }, 'x')), {
      onProgress: (bytes) => told.push(bytes),
      onWarning: ({ code }) => warnings.push(code),
    })
    expect(told.at(-1)).toBe(1024)
    expect(warnings).toEqual(['W_TAR_EOF', 'W_PATH_ABS'])
  })
})

describe('openTarFile() refuses', () => {
  test.each([
    ['nothing', 'nowhere.tar', 'E_SOURCE', /there is no such file/],
    ['a directory', 'spool', 'E_SOURCE', /it is a directory/],
    ['what is beneath a file', 't.tar/x', 'E_SOURCE', /not a directory/],
    ['1 an empty file', 'empty.tar', 'E_TAR_EMPTY', /"[^"]*empty.tar": it is empty/],
    ['2 no tar', 'page.tar', 'E_TAR_FORMAT', /"[^"]*page.tar" at byte 0: there is no tar header/],
    ['2 no tar in gzip', 'page.tar.gz', 'E_TAR_FORMAT', /no tar header/],
  ])('%s', async (_, name, code, message) => {
    inDirectory('empty.tar', Buffer.alloc(0))
    inDirectory('page.tar', Buffer.from('<html>'.repeat(200)))
    execFileSync('gzip', ['-kf', inDirectory('page.tar')])
    await expect(open(inDirectory(name))).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  })
  test('an unreadable standard input', async () => {
    const stdin = new Readable({ read: () => stdin.destroy(new Error('gone')) })
    await expect(open('-', { stdin })).rejects.toMatchObject({ code: 'E_SOURCE' })
  })
  test('a spool directory that is not there', async () => {
    const opening = open(inDirectory('t.tar.gz'), { spoolDirectory: inDirectory('nowhere') })
    await expect(opening).rejects.toMatchObject({ code: 'E_IO' })
  })
  test('91 a file that changes while it is read', async () => {
    const path = inDirectory('growing.tar', rawArchive(rawMember({ name: 'f' }, 'x'.repeat(3_000_000))))
    let grown = false
    const onProgress = (): void => {
      if (!grown) appendFileSync(path, Buffer.alloc(512))
      grown = true
    }
    await expect(open(path, { onProgress })).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED' })
  })
  test('91 contents of a file that changed since', async () => {
    const path = inDirectory('later.tar', rawArchive(rawMember({ name: 'f' }, 'hello')))
    await using file = await open(path)
    expect(Buffer.from(file.readSmall(byteString('f'))).toString()).toBe('hello')
    utimesSync(path, 1, 1)
    expect(() => file.readSmall(byteString('f'))).toThrow(expect.objectContaining({ code: 'E_SOURCE_CHANGED' }))
    await expect(collect(file.contents(byteString('f')))).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED' })
  })
  test('a path that is no file', async () => {
    await using file = await open(inDirectory('t.tar'))
    expect(() => file.readSmall(byteString('d'))).toThrow(expect.objectContaining({ code: 'E_BUG' }))
  })
})

/** A pipe with these bytes in it, as a shell's <(...) is one. */
function fifoOf(path: string): string {
  const fifo = `${path}.fifo`
  execFileSync('sh', ['-c', 'mkfifo "$2"; cat "$1" > "$2" &', 'sh', path, fifo], { stdio: 'ignore' })
  return fifo
}

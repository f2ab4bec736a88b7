// What is taken out of images that an engine has: files by their size, by no name that leads elsewhere, whatever else is there.
import { execFileSync } from 'node:child_process'
import { createReadStream, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { storedImage } from '../../src/engine/stored.ts'
import { byteString } from '../../src/model/bytes.ts'
import { collect } from '../tar/raw-header.ts'

let work: string
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'varve-stored-'))
  mkdirSync(join(work, 'layer/usr/bin'), { recursive: true })
  writeFileSync(join(work, 'layer/usr/bin/tool'), 'four')
  writeFileSync(join(work, 'layer/usr/short'), 'few')
  writeFileSync(join(work, 'secret'), 'five!')
  symlinkSync(work, join(work, 'layer/away'))
  symlinkSync('usr', join(work, 'layer/also'))
  symlinkSync(join(work, 'secret'), join(work, 'layer/link'))
  execFileSync('mkfifo', [join(work, 'layer/fifo')])
  symlinkSync('layer', join(work, 'named'))
})
afterAll(() => rmSync(work, { recursive: true }))

const from = async (): Promise<AsyncIterable<Uint8Array>> => createReadStream(join(work, 'saved.tar'))
const stored = (image: object, own: object = {}): ReturnType<typeof storedImage> => storedImage({ ...image }, { ...own }, { what: 'it', save: from }) // prettier-ignore

describe('storedImage()', () => {
  test.each([
    ['the same name with another tag', ['a/b:1'], ['a/b:2', 'c:1'], true],
    ['another name', ['a/b:1'], ['a:1'], false],
    ['no name', ['a:1'], [], true],
    ['what older engines call no name', ['a:1'], ['<none>:<none>'], true],
    ['null for names', ['a:1'], null, true],
  ] as const)('takes for kin: %s', (_, own, names, isKin) => {
    expect(stored({ RepoTags: names }, { RepoTags: own }).isKin).toBe(isKin)
  })

  test('tells layers and the directories that an overlay driver names', () => {
    const places = { UpperDir: '/c/diff', LowerDir: '/b/diff:/a/diff:relative' }
    const image = stored({ Size: 7, RootFS: { Layers: ['sha256:a'] }, GraphDriver: { Name: 'overlay2', Data: places } })
    expect(image).toMatchObject({ bytes: 7, diffIds: ['sha256:a'], directories: ['/c/diff', '/b/diff', '/a/diff'] })
    for (const driver of [undefined, null, { Data: null }, { Data: {} }])
      expect(stored({ GraphDriver: driver }).directories).toEqual([])
  })

  test('gives files of a directory that are where they are said to be, behind no link, of that size', async () => {
    const at = async (directory: string, path: string, size: number): Promise<string[]> => {
      const found: string[] = []
      for await (const bytes of stored({}).filesAt(join(work, directory), [{ path: byteString(path), size }]))
        found.push(Buffer.from(bytes).toString())
      return found
    }
    expect(await at('layer', 'usr/bin/tool', 4)).toEqual(['four'])
    // the directory itself may be behind one: an engine's data often are
    expect(await at('named', 'usr/bin/tool', 4)).toEqual(['four'])
    for (const [path, size] of [
      ['usr/bin/tool', 5],
      ['also/bin/tool', 4],
      ['away/secret', 5],
      ['link', 5],
      ['fifo', 0],
      ['usr', 4096],
      ['none', 4],
      ['usr/short/x', 3],
    ] as const)
      // prettier-ignore
      expect(await at('layer', path, size), path).toEqual([])
    expect(await at('none', 'usr/bin/tool', 4)).toEqual([])
  })

  test('gives files out of all layers that can be read, whatever else is saved', async () => {
    const tar = (name: string, ...words: string[]): void => void execFileSync('tar', ['-C', work, '-cf', join(work, name), ...words]) // prettier-ignore
    tar('cut.tar', '-C', 'layer', 'usr')
    truncateSync(join(work, 'cut.tar'), 700)
    tar('good.tar', '-C', 'layer', 'usr', 'link')
    execFileSync('gzip', ['-k', join(work, 'good.tar')])
    writeFileSync(join(work, 'blob'), '{"architecture":"x"}'.repeat(100))
    writeFileSync(join(work, 'empty'), '')
    tar('saved.tar', 'empty', 'blob', 'cut.tar', 'good.tar', 'good.tar.gz')
    const found: string[] = []
    for await (const file of stored({}).files(new Set([4, 9]))) found.push((await collect(file)).toString())
    expect(found).toEqual(['four', 'four'])
  })
})

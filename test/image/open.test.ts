// openImage: images of buildah, skopeo and umoci in each of their forms, against umoci's unpack and the kernel's overlay.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parsePlatform } from '../../src/image/platform.ts'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { isOpaque, isWhiteout } from '../../src/model/layer.ts'
import { flatten } from '../../src/model/stack.ts'
import type { Tree } from '../../src/model/tree.ts'
import { scanDirectory } from '../../src/source/directory.ts'
import { makeHasher } from '../../src/store/hash.ts'
import { writeTree } from '../fixture/write-tree.ts'
import { makeImages, open, readImage, type Images, type ReadImage } from './images.ts'

let images: Images
let hash: Awaited<ReturnType<typeof makeHasher>>
let whole: ReadImage
beforeAll(async () => {
  images = makeImages()
  execFileSync('mkfifo', [images.path('fifo')])
  hash = await makeHasher()
  whole = await readImage(await open('oci', images.path('oci:app')))
})
afterAll(() => images[Symbol.dispose]())

async function scan(directory: string): Promise<Tree> {
  const { tree } = await scanDirectory(byteString(directory), { hash, previous: undefined, onWarning: () => {} })
  return tree ?? { entries: [] }
}
const flat = (): Tree => flatten(whole.trees)
/** Directories that no layer names have the time at which umoci made them. */
function timed(entry: Entry, ours: Entry | undefined): Entry {
  return ours?.mtimeNs === 0n ? { ...entry, mtimeNs: 0n } : entry
}

describe('openImage() and flatten()', () => {
  test('agree with umoci, entry by entry', async () => {
    const ours = new Map(flat().entries.map((entry) => [entry.path, entry]))
    const unpacked = await scan(images.path('bundle/rootfs'))
    const theirs = unpacked.entries.map((entry) => timed(entry, ours.get(entry.path)))
    expect(theirs.filter(({ path, mtimeNs }) => ours.get(path)?.mtimeNs === 0n && mtimeNs === 0n).map(({ path }) => path)).toEqual(['', 'deep', 'deep/er', 'many']) // prettier-ignore
    expect(flat().entries).toEqual(theirs)
    expect(theirs.length).toBeGreaterThan(30)
  })
  test('agree with an overlay mount of the settled layers', async () => {
    const lowers = whole.trees.map((tree, i) => {
      const directory = join(images.directory, `lower-${i}`)
      mkdirSync(directory)
      writeTree(directory, tree, (file) => whole.contents.get(file.sha256) ?? '')
      return `lower-${i}`
    })
    mkdirSync(join(images.directory, 'mounted'))
    const words = ['-t', 'overlay', '-o', `lowerdir=${lowers.toReversed().join(':')}`, 'varve-image', 'mounted']
    execFileSync('mount', words, { cwd: images.directory })
    const mounted = await scan(join(images.directory, 'mounted'))
    expect(mounted.entries.map((entry) => wholeSeconds(entry))).toEqual(
      flat().entries.map((entry) => wholeSeconds(entry)),
    )
  })
  test('read layers that have all that layers can have', () => {
    const every = whole.trees.flatMap(({ entries }) => entries)
    expect(whole.trees).toHaveLength(20)
    expect(every.filter(isOpaque).map(({ path }) => path)).toEqual(['opaque', 'usr/lib'])
    expect(every.filter(isWhiteout).map(({ path }) => path)).toEqual(['again', 'fifo', 'lib/sub/x', 'moved/sub'])
    expect(whole.raw.flatMap(({ links }) => [...links])).toEqual([['hard', 'opaque/new']])
    expect(every.filter(({ xattrs }) => xattrs.some(({ name }) => name === 'security.capability'))).toHaveLength(2)
    expect(every.find(({ path }) => path === 'usr/bin/setuid')).toMatchObject({ mode: 0o4755 })
  })
})

function wholeSeconds(entry: Entry): Entry {
  return { ...entry, mtimeNs: entry.mtimeNs / 10n ** 9n }
}

describe('openImage() reads', () => {
  test('what an image says of itself', () => {
    const { image } = whole
    const digest = manifestDigest('oci')
    expect(image).toMatchObject({ name: `oci:${images.path('oci')}@${digest}`, manifestDigest: digest })
    expect(image.platform).toMatchObject({ os: 'linux' })
    expect(JSON.parse(image.config)).toMatchObject({ rootfs: { type: 'layers' } })
    expect(image.layers[1]).toMatchObject({
      digest: expect.stringMatching(/^sha256:/),
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      history: 'layer opaque_directory',
    })
  })
  test.each<[Parameters<typeof open>[0], string, string]>([
    ['oci', 'oci', 'where there is one image only'],
    ['oci', 'oci-zstd:app', 'of zstd'],
    ['oci-archive', 'oci.tar:app', 'in an archive'],
    ['docker-archive', 'docker.tar', 'as docker save writes it'],
    ['docker-archive', 'docker.tar:example.org/app:1', 'by its name'],
    ['docker-archive', 'docker.tar:@0', 'by its number'],
  ])('%s:%s, the same layers %s', async (kind, location) => {
    await using image = await open(kind, images.path(location))
    const read = await readImage(image)
    expect(flatten(read.trees)).toEqual(flat())
    expect(image.layers.map(({ diffId }) => diffId)).toEqual(whole.image.layers.map(({ diffId }) => diffId))
    expect(image.config).toBe(whole.image.config)
    expect(image.manifestDigest === undefined).toBe(kind === 'docker-archive')
  })
  test('an image by its digest', async () => {
    await using image = await open('oci', `${images.path('oci')}@${manifestDigest('oci')}`)
    expect(image.name).toBe(whole.image.name)
  })
  test('a layer again, and only the layer that is asked for', async () => {
    await using image = await open('oci-archive', images.path('oci.tar'))
    const [first] = image.layers
    for (let i = 0; i < 2; i++) {
      let bytes = 0
      for await (const chunk of first!.open()) bytes += chunk.length
      expect(bytes).toBe(131_072)
    }
    for await (const chunk of first!.open()) {
      expect(chunk.length).toBeGreaterThan(0)
      break // and nothing hangs
    }
  })
  test.each(['amd64', 'arm64'])('of an index the image for %s', async (architecture) => {
    await using image = await open('oci', images.path('multi:app'), {
      platform: parsePlatform(`linux/${architecture}`),
    })
    expect(image.platform.architecture).toBe(architecture)
    const { contents } = await readImage(image)
    expect([...contents.values()].map(String)).toEqual([`${architecture}\n`])
  })
  test('of an index the image for this machine', async () => {
    await using image = await open('oci', images.path('multi'))
    expect(image.platform.architecture).toBe(process.arch === 'arm64' ? 'arm64' : 'amd64')
  })
})

describe('openImage() refuses', () => {
  test.each<[string, Parameters<typeof open>[0], string, string]>([
    ['a tag that is not there', 'oci', 'oci:other', 'E_IMAGE'],
    ['a digest that is not there', 'oci', `oci@sha256:${'0'.repeat(64)}`, 'E_IMAGE'],
    ['61 a digest that is no SHA-256', 'oci', `oci@sha512:${'0'.repeat(128)}`, 'E_DIGEST_FORM'],
    ['a name that is not there', 'docker-archive', 'docker.tar:other:1', 'E_IMAGE'],
    ['a number that is not there', 'docker-archive', 'docker.tar:@1', 'E_IMAGE'],
    ['a layout as docker-archive', 'docker-archive', 'oci.tar', 'E_IMAGE'],
    ['57 a docker-archive as layout', 'oci-archive', 'docker.tar', 'E_OCI_LAYOUT'],
    ['a file as directory', 'oci', 'oci.tar', 'E_SOURCE'],
    ['a directory as file', 'oci-archive', 'oci', 'E_SOURCE'],
    ['a FIFO as file', 'oci-archive', 'fifo', 'E_SOURCE'],
    ['what is not there', 'docker-archive', 'nothing.tar', 'E_SOURCE'],
  ])('%s', async (_, kind, location, code) => {
    await expect(open(kind, images.path(location))).rejects.toMatchObject({ code })
  })
  test('65 a platform that an index does not have', async () => {
    await expect(open('oci', images.path('multi'), { platform: parsePlatform('linux/s390x') })).rejects.toMatchObject({
      code: 'E_PLATFORM',
      hint: 'it has: linux/amd64, linux/arm64',
    })
  })
  test('65 a platform that an image is not for', async () => {
    await expect(open('oci', images.path('oci'), { platform: parsePlatform('linux/s390x') })).rejects.toMatchObject({
      code: 'E_PLATFORM',
    })
  })
})

function manifestDigest(layout: string): string {
  const json = execFileSync('cat', [images.path(join(layout, 'index.json'))], { encoding: 'utf8' })
  return (JSON.parse(json) as { manifests: { digest: string }[] }).manifests[0]?.digest ?? ''
}

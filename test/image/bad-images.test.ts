// Bad images, row by row of the threat model: each gets its own error, and gives no layer to its end.
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { layerEntries } from '../../src/image/layer-entries.ts'
import type { ImageOptions } from '../../src/image/open.ts'
import { rawArchive, rawMember } from '../tar/raw-header.ts'
import { open } from './images.ts'

let work = ''
beforeAll(() => void (work = mkdtempSync(join(tmpdir(), 'varve-bad-'))))
afterAll(() => rmSync(work, { recursive: true }))

const OCI = 'application/vnd.oci.image'
const archive = rawArchive(rawMember({ name: 'f' }, 'x'.repeat(100_000)))
const packed = gzipSync(archive)
const digestOf = (bytes: string | Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
type Json = Record<string, unknown>
const described = (mediaType: string, bytes: string | Buffer, more: Json = {}): Json => ({ mediaType, digest: digestOf(bytes), size: Buffer.byteLength(bytes), ...more }) // prettier-ignore

/** What may be bad of an image; the rest is good. */
type Wrong = {
  readonly config?: Json
  readonly process?: Json
  readonly diffIds?: readonly string[]
  readonly layer?: Json
  readonly bytes?: Buffer
  readonly manifest?: Json
  readonly manifestText?: string
  readonly refers?: Json
  readonly index?: Json
  readonly files?: Readonly<Record<string, string | Buffer | undefined>>
}

/** The files of a layout, by path. */
function layout(wrong: Wrong): Record<string, string | Buffer | undefined> {
  const config = JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: wrong.diffIds ?? [digestOf(archive)] }, config: wrong.process, ...wrong.config }) // prettier-ignore
  const manifest = wrong.manifestText ?? JSON.stringify({ schemaVersion: 2, mediaType: `${OCI}.manifest.v1+json`, config: described(`${OCI}.config.v1+json`, config), layers: [described(`${OCI}.layer.v1.tar+gzip`, packed, wrong.layer)], ...wrong.manifest }) // prettier-ignore
  const index = JSON.stringify({ schemaVersion: 2, manifests: [described(`${OCI}.manifest.v1+json`, manifest, wrong.refers)], ...wrong.index }) // prettier-ignore
  return {
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    'index.json': index,
    [blob(config)]: config,
    [blob(manifest)]: manifest,
    [blob(packed)]: wrong.bytes ?? packed,
    ...wrong.files,
  }
}
function blob(bytes: string | Buffer): string {
  return `blobs/${digestOf(bytes).replace(':', '/')}`
}
let count = 0
function write(files: Readonly<Record<string, string | Buffer | undefined>>): string {
  const directory = join(work, `${count++}`)
  mkdirSync(directory)
  for (const [path, bytes] of Object.entries(files)) {
    if (bytes === undefined) continue
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), bytes)
  }
  return directory
}
async function readAll(location: string, more: Partial<ImageOptions> = {}, kind: Parameters<typeof open>[0] = 'oci') {
  await using image = await open(kind, location, more)
  let ends = 0
  for (const layer of image.layers) {
    for await (const chunk of layer.open()) expect(chunk.length).toBeGreaterThan(0)
    ends++
  }
  return ends
}
const nested = (depth: number, width = 1): Pick<Wrong, 'index' | 'files'> => {
  const files: Record<string, string> = {}
  const empty = JSON.stringify({ schemaVersion: 2, manifests: [] })
  files[blob(empty)] = empty
  let inner = described(`${OCI}.index.v1+json`, empty)
  for (let i = 0; i < depth; i++) {
    const manifests = Array.from({ length: width }, () => inner)
    const text = JSON.stringify({ schemaVersion: 2, manifests })
    files[blob(text)] = text
    inner = described(`${OCI}.index.v1+json`, text)
  }
  return { index: { manifests: [inner] }, files }
}
const config = (process: Json): Wrong => ({ process })
const other = gzipSync(rawArchive(rawMember({ name: 'g' }, 'y'.repeat(100_000))))

describe('openImage() refuses', () => {
  test.each<[string, string, Wrong]>([
    ['55 a layer of an unknown type', 'E_MEDIA', { layer: { mediaType: 'application/x-tar' } }],
    ['a layer that is not distributed', 'E_MEDIA', { layer: { mediaType: `${OCI}.layer.nondistributable.v1.tar+gzip` } }],
    ['a foreign layer', 'E_MEDIA', { layer: { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' } }],
    ['56 an encrypted layer', 'E_MEDIA', { layer: { mediaType: `${OCI}.layer.v1.tar+gzip+encrypted` } }],
    ['55 a config that is none', 'E_MEDIA', { manifest: { config: described('application/json', '{}') } }],
    ['55 a manifest that says it is an index', 'E_MEDIA', { refers: { mediaType: `${OCI}.index.v1+json` } }],
    ['a manifest that is an index at once', 'E_MEDIA', { manifest: { manifests: [] } }],
    ['a manifest of version 1', 'E_MEDIA', { manifest: { schemaVersion: 1 } }],
    ['57 a layout without index.json', 'E_OCI_LAYOUT', { files: { 'index.json': undefined } }],
    ['57 a layout without oci-layout', 'E_OCI_LAYOUT', { files: { 'oci-layout': undefined } }],
    ['57 a layout of another version', 'E_OCI_LAYOUT', { files: { 'oci-layout': '{"imageLayoutVersion":"2.0.0"}' } }],
    ['58 a layer that is missing', 'E_BLOB_MISSING', { files: { [blob(packed)]: undefined } }],
    ['59 a layer with a bit turned', 'E_DIGEST', { bytes: Buffer.concat([packed.subarray(0, 5), Buffer.from([9]), packed.subarray(6)]) }],
    ['59 another layer of the same size', 'E_DIGEST', { bytes: Buffer.concat([other, Buffer.alloc(packed.length)]).subarray(0, packed.length) }],
    ['60 a digest that is a path', 'E_DIGEST_FORM', { layer: { digest: 'sha256:../../x' } }],
    ['60 a digest in upper case', 'E_DIGEST_FORM', { layer: { digest: digestOf(packed).toUpperCase() } }],
    ['61 a digest by SHA-512', 'E_DIGEST_FORM', { refers: { digest: `sha512:${'0'.repeat(128)}` } }],
    ['61 a digest by MD5', 'E_DIGEST_FORM', { diffIds: [`md5:${'0'.repeat(32)}`] }],
    ['59 a layer whose gzip data is damaged', 'E_DIGEST', { bytes: Buffer.concat([packed.subarray(0, -8), Buffer.alloc(8)]) }],
    ['a layer that is named so, and damaged', 'E_COMPRESSION', { layer: described('', packed.subarray(0, -1), { mediaType: `${OCI}.layer.v1.tar+gzip` }), files: { [blob(packed.subarray(0, -1))]: packed.subarray(0, -1) } }],
    ['62 a layer that is longer', 'E_DIGEST', { bytes: Buffer.concat([packed, Buffer.alloc(1)]) }],
    ['62 a layer that is shorter', 'E_DIGEST', { layer: { size: packed.length + 1 } }],
    ['62 a manifest that is longer', 'E_DIGEST', { refers: { size: 10 } }],
    ['63 a layer that unpacks to another', 'E_DIGEST', { diffIds: [digestOf('x')] }],
    ['63 more digests than layers', 'E_DIGEST', { diffIds: [digestOf(archive), digestOf(archive)] }],
    ['64 an index fifty deep', 'E_OCI_DEPTH', nested(50)],
    ['64 an index of nothing', 'E_PLATFORM', nested(0)],
    ['64 an index of itself so often that nobody could follow', 'E_PLATFORM', nested(3, 500)],
    ['65 an image for Windows', 'E_PLATFORM', { config: { os: 'windows' } }],
    ['65 an image for no machine', 'E_PLATFORM', { config: { architecture: '' } }],
    ['66 a manifest of 5 MB', 'E_JSON', { manifestText: `{"a":"${'x'.repeat(5_000_000)}"}` }],
    ['66 a manifest 10000 deep', 'E_JSON', { manifestText: `{"a":${'['.repeat(10_000)}${']'.repeat(10_000)}}` }],
    ['66 a key twice', 'E_JSON', { manifestText: '{"schemaVersion":2,"layers":[],"l\\u0061yers":[]}' }],
    ['66 a key __proto__', 'E_JSON', { manifestText: '{"schemaVersion":2,"__proto__":{"layers":[]}}' }],
    ['66 what is no JSON', 'E_JSON', { manifestText: '{"schemaVersion":2,' }],
    ['66 what is no UTF-8', 'E_JSON', { files: { 'index.json': Buffer.from([0x7b, 0xff, 0x7d]) } }],
    ['66 a manifest that is a list', 'E_JSON', { manifestText: '[]' }],
    ['66 a size below nothing', 'E_JSON', { layer: { size: -1 } }],
    ['70 a working directory below /proc', 'E_CONFIG_CWD', config({ WorkingDir: '/proc/self/fd/7' })],
    ['70 a working directory that leads there', 'E_CONFIG_CWD', config({ WorkingDir: '/etc/..//proc/self' })],
    ['70 a relative working directory', 'E_CONFIG_CWD', config({ WorkingDir: 'srv' })],
    ['71 a variable of two lines', 'E_CONFIG_ENV', config({ Env: ['A=1\nB=2'] })],
    ['71 a variable without a value', 'E_CONFIG_ENV', config({ Env: ['A'] })],
    ['72 a user that is a command', 'E_CONFIG_USER', config({ User: 'root;id' })],
    ['73 an empty entrypoint', 'E_CONFIG_CMD', config({ Entrypoint: [''] })],
    ['74 a label of 10 MB', 'E_LIMIT', config({ Labels: { a: 'x'.repeat(10_000_000) } })],
  ])('%s', async (_, code, wrong) => {
    await expect(readAll(write(layout(wrong)))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/^cannot (?:use|read) [^\n]*: [^\n]*[^.]$/),
    })
  }) // prettier-ignore
  test('nothing of a good image, also where its config says all that it may', async () => {
    const process = {
      WorkingDir: '/srv',
      Env: ['A=', 'B=a=b c'],
      User: 'www-data:33',
      Entrypoint: ['/x', ''],
      Cmd: null,
    }
    expect(await readAll(write(layout({ process })))).toBe(1)
  })
  test('nothing of a config that is long, and has texts that look like keys', async () => {
    const Labels = { 'a"': 'x'.repeat(3_900_000), b: '\n'.repeat(2_000_000), c: '{"c":1,"c":2}', d: 'd' }
    expect(await readAll(write(layout({ process: { Labels, Env: ['c=', 'c='] } })))).toBe(1)
  })
  test.each(['blobs', 'blobs/sha256', 'index.json', blob(packed)])('a symlink in place of %s', async (path) => {
    const directory = write(layout({}))
    const elsewhere = write(layout({}))
    rmSync(join(directory, path), { recursive: true })
    symlinkSync(join(elsewhere, path), join(directory, path))
    await expect(readAll(directory)).rejects.toMatchObject({ code: 'E_ARCHIVE_LINK' })
  })
  test.each<[string, Wrong]>([
    ['59 is another', { bytes: Buffer.concat([packed.subarray(0, -1), Buffer.from([7])]) }],
    ['63 unpacks to another', { diffIds: [digestOf('x')] }],
  ])('entries of a layer that %s', async (_, wrong) => {
    await using image = await open('oci', write(layout(wrong)))
    await expect(layerEntries(image.layers[0]!.open())).rejects.toMatchObject({ code: 'E_DIGEST' })
  })
  test('51 a layer that unpacks to far more', async () => {
    const bomb = gzipSync(Buffer.alloc(100_000_000))
    const wrong: Wrong = {
      manifest: { layers: [described(`${OCI}.layer.v1.tar+gzip`, bomb)] },
      files: { [blob(bomb)]: bomb },
    }
    await expect(readAll(write(layout(wrong)))).rejects.toMatchObject({ code: 'E_LIMIT_RATIO' })
  })
  test('53 not a layer with junk behind its gzip data, but says so', async () => {
    const junk = Buffer.concat([packed, Buffer.from('junk')])
    const warnings: string[] = []
    const wrong: Wrong = {
      manifest: { layers: [described(`${OCI}.layer.v1.tar+gzip`, junk)] },
      files: { [blob(junk)]: junk },
    }
    const onWarning = ({ code }: { code: string }): void => void warnings.push(code)
    expect(await readAll(write(layout(wrong)), { onWarning })).toBe(1)
    expect(warnings).toEqual(['W_TRAILING'])
  })
})

/** A docker-archive whose files are these members. */
function save(...members: Buffer[]): string {
  const path = join(work, `${count++}.tar`)
  writeFileSync(path, rawArchive(...members))
  return path
}
const dockerConfig = JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: [digestOf(archive)] } })
const manifest = (layer: string, name = 'c.json'): Buffer => rawMember({ name: 'manifest.json' }, JSON.stringify([{ Config: name, RepoTags: ['a:1'], Layers: [layer] }])) // prettier-ignore
const saved = rawMember({ name: 'c.json' }, dockerConfig)
const stored = (name: string): Buffer => rawMember({ name }, archive)
const symlink = (name: string, linkname: string): Buffer => rawMember({ name, type: '2', linkname })

describe('openImage() of a docker-archive', () => {
  test.each<[string, Buffer[]]>([
    ['a layer in a directory', [manifest('l/layer.tar'), saved, stored('l/layer.tar')]],
    ['68 a layer that is a symlink to another', [manifest('m/layer.tar'), saved, stored('l/layer.tar'), symlink('m/layer.tar', '../l/layer.tar')]],
    ['what Docker writes since version 25', [manifest(blob(packed), blob(dockerConfig)), rawMember({ name: blob(dockerConfig) }, dockerConfig), rawMember({ name: blob(packed) }, packed)]],
    ['members with ./ before them', [rawMember({ name: './', type: '5' }), saved, stored('./l'), manifest('l')]],
  ])('reads %s', async (_, members) => {
    expect(await readAll(save(...members), {}, 'docker-archive')).toBe(1)
  }) // prettier-ignore
  test.each<[string, string, Buffer[]]>([
    ['68 a layer that is a symlink to this machine', 'E_ARCHIVE_LINK', [manifest('l'), saved, symlink('l', '/etc/passwd')]],
    ['68 a layer that is a symlink to outside', 'E_ARCHIVE_LINK', [manifest('l'), saved, symlink('l', '../../etc/passwd')]],
    ['68 a layer that is a symlink to a symlink', 'E_ARCHIVE_LINK', [manifest('l'), saved, stored('n'), symlink('m', 'n'), symlink('l', 'm')]],
    ['68 a layer that is a device', 'E_ARCHIVE_LINK', [manifest('l'), saved, rawMember({ name: 'l', type: '3' })]],
    ['69 a layer outside of the archive', 'E_PATH_ESCAPE', [manifest('../../etc/passwd'), saved]],
    ['69 a layer of this machine', 'E_BLOB_MISSING', [manifest('/etc/passwd'), saved]],
    ['69 a config outside of the archive', 'E_PATH_ESCAPE', [manifest('l', '../c.json'), saved, stored('l')]],
    ['a member that leads out', 'E_PATH_ESCAPE', [manifest('l'), saved, stored('l'), stored('../l')]],
    ['a member that is there twice', 'E_DUP_TYPE', [manifest('l'), saved, stored('l'), stored('./l')]],
    ['58 a layer that is missing', 'E_BLOB_MISSING', [manifest('l'), saved]],
    ['63 another layer', 'E_DIGEST', [manifest('l'), saved, rawMember({ name: 'l' }, rawArchive())]],
    ['59 a config that is not what its name says', 'E_DIGEST', [manifest('l', `${'0'.repeat(64)}.json`), rawMember({ name: `${'0'.repeat(64)}.json` }, dockerConfig), stored('l')]],
    ['59 a layer that is not what its name says', 'E_DIGEST', [manifest(blob(other)), saved, rawMember({ name: blob(other) }, packed)]],
    ['an archive of two images', 'E_IMAGE', [rawMember({ name: 'manifest.json' }, '[{"Config":"a"},{"Config":"b"}]')]],
    ['an archive of no image', 'E_IMAGE', [rawMember({ name: 'manifest.json' }, '[]')]],
    ['3 an archive that is cut', 'E_TAR_TRUNC', [manifest('l'), saved, stored('l').subarray(0, 5000)].slice(0, 3)],
  ])('refuses %s', async (_, code, members) => {
    const path = save(...members)
    if (code === 'E_TAR_TRUNC') writeFileSync(path, Buffer.concat(members))
    await expect(readAll(path, {}, 'docker-archive')).rejects.toMatchObject({ code })
  }) // prettier-ignore
  test('refuses an archive that is compressed, and says how to unpack it', async () => {
    const path = save()
    writeFileSync(path, packed)
    await expect(readAll(path, {}, 'docker-archive')).rejects.toMatchObject({ code: 'E_COMPRESSION', hint: `gunzip --keep ${path}` }) // prettier-ignore
  })
})

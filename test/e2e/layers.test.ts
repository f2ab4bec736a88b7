// Images layer by layer over SSH: exact, shared by all containers of a host, and what each push costs.
import { execFileSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed, listingOn, unshared } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { listingOf } from '../fixture/rootfs.ts'
import { baseTrees } from '../fixture/trees.ts'
import { blobOf, makeImage, manifestOf, unpack } from '../fixture/umoci.ts'
import { varveData, varveError } from '../fixture/varve.ts'
import { makeImages, type Images } from '../image/images.ts'

let host: Host
let work: string
let layout: string
let exported: string
let first: Report
const at = (...path: string[]): string => join(work, ...path)
const common = (state = 'state'): string[] => ['-F', host.sshConfig, '--state-dir', at(state)]
const push = (source: string, container: string, ...more: string[]): Promise<Report> =>
  varveData<Report>(['push', source, `${host.alias}:${container}`, ...common(), ...more])
const image = (tag: string): string => `oci:${layout}:${tag}`
const run = async (container: string): Promise<string> => {
  const ran = await host.exec(`cd /var/lib/machines/${container} && runc run ${container} </dev/null`)
  return ran.stdout.toString() + ran.stderr
}
const wire = ({ bytes }: Report): number => bytes.sent + bytes.received
const own = ({ layers }: Report): number => layers.reduce((sum, layer) => sum + layer.delta, 0)
const ids = ({ layers }: Report): string[] => layers.map(({ id }) => id)
const inode = async (container: string, path: string): Promise<string> =>
  (await host.exec(`stat -c %d:%i /var/lib/machines/${container}/rootfs/${path}`)).stdout.toString().split(':')[1] ?? ''

/** A layer of one program that says what it is. */
function says(name: string): string {
  mkdirSync(at(name, 'etc'), { recursive: true })
  writeFileSync(at(name, 'say'), `#!/bin/sh\necho ${name}\n`, { mode: 0o755 })
  // a copy with all metadata, which shares nothing with what it was made of
  cpSync(at('base/etc/debian_version'), at(name, `etc/${name}`), { preserveTimestamps: true })
  return at(name)
}

beforeAll(async () => {
  host = await startHost()
  work = mkdtempSync(join(tmpdir(), 'varve-layers-'))
  const { rootfsBusybox, rootfsDebian } = baseTrees()
  const few = 'etc usr/share/doc usr/share/zoneinfo var/lib/dpkg'
  execFileSync('sh', ['-euc', `cp -a "$0" "$2"; cd "$1"; cp -a --parents ${few} "$2"`, rootfsBusybox, rootfsDebian, at('base')]) // prettier-ignore
  cpSync(at('base'), at('later'), { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
  execFileSync('find', [at('later'), '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
  layout = at('layout')
  makeImage(layout, 'one', { layers: [at('base'), says('one')], command: ['/say'] })
  makeImage(layout, 'base', { layers: [at('base')] })
  makeImage(layout, 'two', { from: 'base', layers: [says('two')], command: ['/say'] })
  makeImage(layout, 'rebuilt', { layers: [at('later'), at('one')], command: ['/say'] })
  exported = unpack(layout, 'one', at('bundle'))
})
afterAll(async () => {
  await host.stop()
  rmSync(work, { recursive: true, force: true })
})

describe('push() of images on one base', () => {
  test('deploys an image exactly, and runc runs what it says', async () => {
    first = await push(image('one'), 'one')
    expect(first.layers.map(({ state }) => state)).toEqual(['sent', 'sent'])
    await expectDeployed(host, '/var/lib/machines/one/rootfs', exported)
    expect(await run('one')).toBe('one\n')
  })

  test('shares no file of one layer with another name of another, which cp would refuse to copy', async () => {
    const at = '/var/lib/machines/one/rootfs/etc'
    expect(await inode('one', 'etc/one')).not.toBe(await inode('one', 'etc/debian_version'))
    expect((await host.exec(`cp -a ${at}/debian_version ${at}/one`)).stderr).toBe('')
  })

  test('costs for a second one its own layers and less than 20 kB', async () => {
    const report = await push(image('two'), 'two')
    expect(report.layers.map(({ state }) => state)).toEqual(['present', 'sent'])
    expect(report.layers[0]?.id).toBe(first.layers[0]?.id)
    expect(wire(report) - own(report)).toBeLessThan(20_000)
    expect(await run('two')).toBe('two\n')
    expect(await inode('two', 'bin/busybox')).toBe(await inode('one', 'bin/busybox'))
  })

  test('costs where the base was built again with other times no contents', async () => {
    const report = await push(image('rebuilt'), 'rebuilt')
    expect(report.bytes.changed).toBe(0)
    expect(wire(report)).toBeLessThan(200_000)
    await expectDeployed(host, '/var/lib/machines/rebuilt/rootfs', unpack(layout, 'rebuilt', at('rebuilt')))
  })

  test('costs for an image that is a known one, read by name of another, nothing', async () => {
    const report = await push(image('one'), 'twin')
    expect(report).toMatchObject({ generation: 1, bytes: { delta: 0 } })
    expect(wire(report)).toBeLessThan(20_000)
  })
})

describe('push() of an image that changes a file of its base', () => {
  const program = readFileSync(join(baseTrees().rootfsBusybox, 'bin/busybox'))
  const layer = (name: string, bytes: Buffer): string => {
    mkdirSync(at(name, 'opt'), { recursive: true })
    writeFileSync(at(name, 'opt/program'), bytes, { mode: 0o755 })
    return at(name)
  }
  /** As built again: many addresses are others, so that no block of it is as it was. */
  const rebuilt = (): Buffer => {
    const now = Buffer.from(program)
    for (let i = 4096; i < now.length - 4; i += 128) now.writeUInt32LE((now.readUInt32LE(i) + 256) % 2 ** 32, i)
    return now
  }

  test('by somebody who never sent the base costs the difference, for the base is in the image', async () => {
    makeImage(layout, 'under', { from: 'base', layers: [layer('under', program)] })
    makeImage(layout, 'over', { from: 'under', layers: [layer('over', rebuilt())] })
    await push(image('under'), 'over')
    const report = await push(image('over'), 'over', ...common('stranger'))
    expect(report.layers.map(({ state }) => state)).toEqual(['present', 'present', 'sent'])
    expect(report.bytes.changed).toBe(program.length)
    expect(own(report)).toBeLessThan(program.length / 100)
    await expectDeployed(host, '/var/lib/machines/over/rootfs', unpack(layout, 'over', at('over-bundle')))
  })
})

describe('push() of a flat export', () => {
  const tar = (): string => {
    execFileSync('tar', ['--create', `--file=${at('export.tar')}`, '--xattrs', `--directory=${exported}`, '.'])
    return `tar:${at('export.tar')}`
  }
  test('of a deployed image is that image', async () => {
    const report = await push(tar(), 'flat')
    expect(report).toMatchObject({ bytes: { delta: 0 }, layers: [{ state: 'present' }, { state: 'present' }] })
    await expectDeployed(host, '/var/lib/machines/flat/rootfs', exported)
  })

  test('with one file changed and one gone costs those, and stands on the base of all', async () => {
    appendFileSync(join(exported, 'etc/passwd'), 'app:x:9:9::/:/bin/sh\n')
    rmSync(join(exported, 'etc/debian_version'))
    writeFileSync(join(exported, '.dockerenv'), '')
    const report = await push(tar(), 'flat')
    expect(wire(report)).toBeLessThan(25_000)
    expect(report.layers.map(({ state }) => state)).toEqual(['present', 'present', 'sent'])
    expect(report.entries).toMatchObject({ added: 1, changed: 1, removed: 1 })
    expect(await inode('flat', 'bin/busybox')).toBe(await inode('one', 'bin/busybox'))
    await expectDeployed(host, '/var/lib/machines/flat/rootfs', exported)
  })

  test('that changes again costs as little', async () => {
    appendFileSync(join(exported, 'etc/passwd'), 'two:x:8:8::/:/bin/sh\n')
    const report = await push(tar(), 'flat')
    expect(report.layers.filter(({ state }) => state === 'sent')).toHaveLength(1)
    expect(wire(report)).toBeLessThan(25_000)
    await expectDeployed(host, '/var/lib/machines/flat/rootfs', exported)
  })

  test('by somebody else, who knows nothing yet, costs no contents', async () => {
    const known = await push(image('two'), 'others', ...common('other'))
    expect(known.bytes.delta).toBe(0)
    appendFileSync(join(exported, 'etc/passwd'), 'six:x:6:6::/:/bin/sh\n')
    const report = await push(tar(), 'others', ...common('third'))
    expect(ids(report).slice(0, 2)).toEqual(ids(first))
    expect(report.layers.filter(({ state }) => state === 'sent')).toHaveLength(1)
    expect(report.bytes.sent).toBeLessThan(25_000)
    await expectDeployed(host, '/var/lib/machines/others/rootfs', exported)
  })
})

describe('push() of an image with all that layers can have', () => {
  let images: Images
  let unpacked: string
  beforeAll(() => {
    images = makeImages()
    unpacked = images.path('bundle/rootfs')
    // umoci gives the time of its unpacking to directories that no layer names
    execFileSync('touch', ['-d', '@0', ...['', 'deep', 'deep/er', 'many'].map((path) => join(unpacked, path))])
  })
  afterAll(() => images[Symbol.dispose]())

  test('mounts what umoci unpacks', async () => {
    const report = await push(`oci:${images.path('oci:app')}`, 'every', '--allow-devices')
    expect(report.layers).toHaveLength(20)
    await expectDeployed(host, '/var/lib/machines/every/rootfs', unpacked)
  })

  test('is the same from another form of it', async () => {
    const report = await push(`docker-archive:${images.path('docker.tar')}`, 'every', '--allow-devices')
    expect(report.bytes.delta).toBe(0)
  })

  test('as a copy is one tree, and exact', async () => {
    const report = await push(`oci:${images.path('oci:app')}`, 'every', '--allow-devices', '--rootfs', 'copy')
    expect(report.layers).toHaveLength(1)
    expect(report.bytes.changed).toBe(0)
    await expectDeployed(host, '/var/lib/machines/every/rootfs', unpacked)
  })

  test('for another machine is refused before the host is asked for anything', async () => {
    const words = [
      'push',
      `oci:${images.path('multi')}`,
      `${host.alias}:multi`,
      '--platform',
      'linux/s390x',
      ...common(),
    ]
    expect(await varveError(words)).toMatchObject({ code: 'E_PLATFORM', status: 3 })
    expect((await host.exec('ls /var/lib/varve/c')).stdout.toString()).not.toContain('multi')
  })
})

describe('push() of an image', () => {
  const trees = async (): Promise<string> => (await host.exec('cd /var/lib/varve && ls tree stage in tx trash')).stdout.toString() // prettier-ignore

  test.each(['digest', 'diffID'])('with a layer whose %s is wrong leaves nothing behind', async (wrong) => {
    const copy = at(`poisoned-${wrong}`)
    makeImage(copy, 'bad', { layers: [says(`poison-${wrong}`), says(`more-${wrong}`)] })
    const { config, layers } = manifestOf(copy, 'bad')
    const blob = blobOf(copy, layers[1]?.digest ?? '')
    const { rootfs } = JSON.parse(readFileSync(blobOf(copy, config.digest), 'utf8')) as {
      rootfs: { diff_ids: string[] }
    }
    if (wrong === 'digest')
      writeFileSync(blob, readFileSync(blobOf(layout, manifestOf(layout, 'one').layers[1]?.digest ?? ''))) // prettier-ignore
    else poisonConfig(copy, rootfs.diff_ids[1] ?? '')
    const before = await trees()
    for (const attempt of [1, 2]) {
      const error = await varveError(['push', `oci:${copy}:bad`, `${host.alias}:poison`, ...common()])
      expect(error, `attempt ${attempt}`).toMatchObject({
        code: 'E_DIGEST',
        status: 3,
      })
    }
    expect(await trees()).toBe(before)
    const status = await varveError(['status', `${host.alias}:poison`, ...common()])
    expect(status.code).toBe('E_NO_CONTAINER')
  })

  test('whose layers are all known reads none of them', async () => {
    for (const { digest } of manifestOf(layout, 'one').layers) rmSync(blobOf(layout, digest))
    expect(await push(image('one'), 'one')).toMatchObject({ generation: 1, bytes: { delta: 0 } })
    expect(await push(image('one'), 'unread')).toMatchObject({ generation: 1, bytes: { delta: 0 } })
    expect(await run('unread')).toBe('one\n')
  })
})

/** Says another diffID for the second layer, and makes all digests above it fit. */
function poisonConfig(directory: string, diffId: string): void {
  execFileSync('python3', ['-c', `
import hashlib, json, os, sys
root, old = sys.argv[1:]
blob = lambda digest: os.path.join(root, 'blobs', *digest.split(':'))
def put(text):
    digest = 'sha256:' + hashlib.sha256(text).hexdigest()
    open(blob(digest), 'wb').write(text)
    return {'digest': digest, 'size': len(text)}
index = json.load(open(os.path.join(root, 'index.json')))
manifest = json.load(open(blob(index['manifests'][0]['digest'])))
config = open(blob(manifest['config']['digest']), 'rb').read().replace(old.encode(), b'sha256:' + b'7' * 64)
manifest['config'].update(put(config))
index['manifests'][0].update(put(json.dumps(manifest).encode()))
json.dump(index, open(os.path.join(root, 'index.json'), 'w'))
`, directory, diffId]) // prettier-ignore
}

test('push() to a host with BusyBox alone lays the layers together here', async () => {
  await using small = await startHost({ userland: 'busybox' })
  makeImage(at('whole'), 'whole', { layers: [at('later'), says('three')] })
  execFileSync('find', [at('three'), '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
  makeImage(at('whole'), 'whole', { layers: [at('later'), at('three')] })
  const options = ['-F', small.sshConfig, '--state-dir', at('state')]
  const report = await varveData<Report>(['push', `oci:${at('whole')}:whole`, `${small.alias}:app`, ...options])
  expect(report.layers).toHaveLength(1)
  const unpacked = unpack(at('whole'), 'whole', at('bundle-3'))
  expect(await listingOn(small, '/var/lib/machines/app/rootfs')).toBe(unshared(await listingOf(unpacked)))
})

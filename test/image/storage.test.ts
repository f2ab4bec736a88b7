// containers-storage: by each of the commands that read it, images by Podman's socket, and what is kept of a saved image.
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDockerImage } from '../../src/engine/docker.ts'
import type { EngineOptions } from '../../src/engine/described.ts'
import { SavedLayers } from '../../src/engine/saved.ts'
import { openStorageImage } from '../../src/engine/storage.ts'
import { openDoor, startPodman } from '../fixture/dockerd.ts'
import { varveData } from '../fixture/varve.ts'
import { collect } from '../tar/raw-header.ts'
import { makeImages, open, readImage, type Images, type ReadImage } from './images.ts'

const TOOLS = ['podman', 'buildah', 'skopeo']
let images: Images
let whole: ReadImage
let work: string
/** Only this test's storage. */
let storage: NodeJS.ProcessEnv

beforeAll(async () => {
  images = makeImages()
  work = mkdtempSync(join(tmpdir(), 'varve-storage-'))
  const conf = join(work, 'storage.conf')
  writeFileSync(
    conf,
    `[storage]\ndriver = "overlay"\ngraphroot = "${images.path('root')}"\nrunroot = "${images.path('run')}"\n`,
  )
  storage = { ...process.env, CONTAINERS_STORAGE_CONF: conf }
  execFileSync('buildah', ['push', '-q', 'app', `docker-archive:${images.path('app.tar')}:app:1`], { env: storage })
  whole = await readImage(await open('docker-archive', images.path('app.tar')))
})
afterAll(() => {
  rmSync(work, { recursive: true })
  images[Symbol.dispose]()
})

/** An environment whose only commands are these. Each notes what it was asked. */
function having(...tools: readonly string[]): { environment: NodeJS.ProcessEnv; asked: () => string[] } {
  const directory = mkdtempSync(join(work, 'bin-'))
  const log = join(directory, 'log')
  writeFileSync(log, '')
  for (const tool of tools)
    writeFileSync(join(directory, tool), `#!/bin/sh\necho ${tool} "$1" "$2" >>${log}\nexec /usr/bin/${tool} "$@"\n`, { mode: 0o755 }) // prettier-ignore
  // what the commands themselves call
  const own = join(directory, 'own')
  mkdirSync(own)
  symlinkSync('/bin/sh', join(own, 'sh'))
  return {
    environment: { ...storage, PATH: `${directory}:${own}` },
    asked: () => readFileSync(log, 'utf8').split('\n').filter(Boolean),
  }
}
const options = (environment: NodeJS.ProcessEnv): EngineOptions => ({ environment, spoolDirectory: work, onProgress: () => {}, onWarning: () => {} }) // prettier-ignore

describe('openStorageImage()', () => {
  test.each(TOOLS)('gives by %s the layers, the config and the commands of the image', async (tool) => {
    const { environment } = having(tool)
    await using image = await openStorageImage('localhost/app', options(environment))
    const { trees } = await readImage(image)
    expect(trees).toEqual(whole.trees)
    expect(image.layers.map(({ history }) => history)).toEqual(whole.image.layers.map(({ history }) => history))
    expect(JSON.parse(image.config)).toMatchObject({ rootfs: { diff_ids: whole.image.layers.map(({ diffId }) => diffId) } }) // prettier-ignore
  })
  test('says by podman what else is stored, and gives files out of it', async () => {
    await using image = await openStorageImage('localhost/app', options(having('podman').environment))
    const diffIds = whole.image.layers.map(({ diffId }) => diffId)
    const found = (await image.stored?.())?.find((stored) => stored.diffIds.join() === diffIds.join())
    expect(found).toMatchObject({ isKin: true, bytes: expect.any(Number) })
    expect(found?.directories).toHaveLength(diffIds.length)
    const [largest] = [...whole.contents.values()].toSorted((a, b) => b.length - a.length)
    const files: Buffer[] = []
    for await (const file of found?.files(new Set([largest?.length ?? 0])) ?? []) files.push(await collect(file))
    expect(files).toContainEqual(largest)
    for (const tool of ['buildah', 'skopeo']) {
      await using other = await openStorageImage('localhost/app', options(having(tool).environment))
      expect(other.stored).toBeUndefined()
    }
  })
  test('reads another storage, and only by skopeo', async () => {
    const name = `[overlay@${images.path('root')}+${images.path('run')}]localhost/app:latest`
    const { environment, asked } = having('podman', 'skopeo')
    await using image = await openStorageImage(name, options({ ...environment, CONTAINERS_STORAGE_CONF: '/dev/null' }))
    expect(image.layers).toHaveLength(13)
    expect(asked()).toEqual(['skopeo inspect --config'])
  })
  test.each(TOOLS)('says by %s that there is no such image', async (tool) => {
    const opened = openStorageImage('nothing:1', options(having(tool).environment))
    await expect(opened).rejects.toMatchObject({ code: 'E_IMAGE', hint: expect.stringContaining('root') })
  })
  test.each(TOOLS)('quotes what %s says where it fails', async (tool) => {
    const broken = join(work, 'broken.conf')
    writeFileSync(broken, '[storage]\ndriver = "\\u001bnone"\n')
    const opened = openStorageImage('app', options({ ...having(tool).environment, CONTAINERS_STORAGE_CONF: broken }))
    await expect(opened).rejects.toMatchObject({
      code: 'E_ENGINE',
      // eslint-disable-next-line no-control-regex
      message: expect.stringMatching(new RegExp(`^cannot read from ${tool}: [\\x20-\\x7e]+$`)),
    })
  })
  test('says what to install where there is no command', async () => {
    const opened = openStorageImage('app', options(having().environment))
    await expect(opened).rejects.toMatchObject({ code: 'E_TOOL', hint: 'sudo apt-get install skopeo' })
  })
  test.each(['-v', '--root=/x', '[overlay@/x', 'a b', '../x', ''])('refuses the name %j unasked', async (name) => {
    const { environment, asked } = having(...TOOLS)
    await expect(openStorageImage(name, options(environment))).rejects.toMatchObject({ code: 'E_IMAGE' })
    expect(asked()).toEqual([])
  })
  test('saves nothing where varve knows all layers', async () => {
    const { environment, asked } = having('podman')
    const env = { ...environment, PATH: `${environment['PATH']}:${process.env['PATH']}` }
    const words = ['--state-dir', join(work, 'state'), '--store', images.path('store'), '--bundle-dir', images.path('bundles'), '--allow-devices'] // prettier-ignore
    await varveData(['push', 'containers-storage:app', 'local:app', ...words], { env })
    expect(asked()).toEqual(['podman image inspect', 'podman image save'])
    const planned = await varveData(['plan', 'containers-storage:app', 'local:app', ...words], { env })
    expect(planned).toMatchObject({ changes: false })
    expect(asked().slice(2)).toEqual(['podman image inspect'])
  })
})

describe("Podman's socket", () => {
  test('gives images and containers as Docker does', async () => {
    await using podman = await startPodman(work, storage)
    using door = await openDoor(podman.socket)
    const environment = { DOCKER_HOST: `unix://${door.socket}` }
    await using image = await openDockerImage('localhost/app', options(environment))
    expect((await readImage(image)).trees).toEqual(whole.trees)
    await expect(openDockerImage('nothing:1', options(environment))).rejects.toMatchObject({ code: 'E_IMAGE' })
    // a container that does not run, for crun refuses this machine's cgroups
    execFileSync('podman', ['create', '--name', 'app', '--network', 'none', 'localhost/app', '/x'], { env: storage })
    const mounted = execFileSync('podman', ['mount', 'app'], { env: storage, encoding: 'utf8' }).trim()
    writeFileSync(join(mounted, 'opaque/mine'), 'mine\n')
    rmSync(join(mounted, 'usr/lib/a'))
    const words = ['--state-dir', join(work, 'state-2'), '--store', images.path('store'), '--bundle-dir', images.path('bundles'), '--allow-devices'] // prettier-ignore
    await varveData(['push', 'docker-daemon:localhost/app', 'local:other', ...words], { env: environment })
    const pushed = await varveData(['push', 'container:app', 'local:other', ...words], { env: environment })
    const layers = Array.from({ length: 13 }, () => ({ state: 'present' }))
    expect(pushed).toMatchObject({ generation: 2, layers: [...layers, { state: 'sent' }], entries: { added: expect.any(Number) } }) // prettier-ignore
    const root = images.path('store/c/other/bundle/2/rootfs')
    expect(readFileSync(join(root, 'opaque/mine'), 'utf8')).toBe('mine\n')
    expect(() => statSync(join(root, 'usr/lib/a'))).toThrow('ENOENT')
    expect(door.asked.filter((line) => line.startsWith('POST'))).toEqual([])
  })
})

describe('SavedLayers', () => {
  test('stops reading as soon as it has what was expected', async () => {
    const file = images.path('app.tar')
    const stream = createReadStream(file, { highWaterMark: 4096 })
    const [first] = whole.image.layers
    const all = whole.image.layers.map(({ diffId }) => diffId)
    await using saved = new SavedLayers(async () => stream, all, {
      what: 'it',
      spoolDirectory: work,
      onProgress: () => {},
    })
    saved.expect([first!.diffId])
    let bytes = 0
    for await (const chunk of saved.open(first!.diffId)) bytes += chunk.length
    expect(bytes).toBe(first!.size)
    // skopeo and its like write the lowest layer first
    expect(stream.bytesRead).toBeLessThan(bytes + 16_384)
    expect(statSync(file).size).toBeGreaterThan(bytes + 16_384)
    expect(stream.destroyed).toBe(true)
  })
})

// docker-daemon: and container: with a real dockerd and Podman's socket, seen and spoilt at a door before them.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDockerImage } from '../../src/engine/docker.ts'
import type { EngineOptions } from '../../src/engine/described.ts'
import type { Image } from '../../src/image/open.ts'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { flatten } from '../../src/model/stack.ts'
import type { Tree } from '../../src/model/tree.ts'
import { scanDirectory } from '../../src/source/directory.ts'
import { makeHasher } from '../../src/store/hash.ts'
import { openManifest, type Manifest } from '../../src/store/manifest.ts'
import type { Context } from '../../src/verbs/context.ts'
import { readSource, type ReadSource } from '../../src/verbs/read-source.ts'
import type { Report } from '../../src/verbs/report.ts'
import { openDoor, startDockerd, type Door, type Engine, type Spoil } from '../fixture/dockerd.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { baseTrees } from '../fixture/trees.ts'
import { startVarve, varveData, varveError } from '../fixture/varve.ts'
import { makeImages, open, readImage, type Images, type ReadImage } from './images.ts'

let images: Images
let engine: Engine
let whole: ReadImage
let hash: Awaited<ReturnType<typeof makeHasher>>
let work: string

beforeAll(async () => {
  images = makeImages()
  hash = await makeHasher()
  // without the last layers of docker.tar, which Docker does not load
  const storage = `[overlay@${images.path('root')}+${images.path('run')}]`
  execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', `containers-storage:${storage}localhost/app`, `docker-archive:${images.path('app.tar')}:app:1`]) // prettier-ignore
  whole = await readImage(await open('docker-archive', images.path('app.tar')))
  engine = await startDockerd()
  work = mkdtempSync(join(tmpdir(), 'varve-engines-'))
  execFileSync('mount', ['-t', 'tmpfs', 'varve-engines', work])
  engine.docker('load', '-q', '-i', images.path('app.tar'))
  // with what no export tells: times of fractions and attributes
  const base = join(work, 'base')
  execFileSync('cp', ['-a', baseTrees().rootfsBusybox, base])
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'x', join(base, 'etc/group')])
  execFileSync('tar', ['-C', base, '--format=posix', '--xattrs', '--create', '--file', join(work, 'base.tar'), '.'])
  engine.docker('import', '-c', 'CMD ["sleep","1000"]', '-c', 'ENV BASE=1', join(work, 'base.tar'), 'base')
})
afterAll(async () => {
  await engine[Symbol.asyncDispose]()
  execFileSync('umount', [work])
  rmSync(work, { recursive: true })
  images[Symbol.dispose]()
})

function at(socket: string): NodeJS.ProcessEnv {
  return { DOCKER_HOST: `unix://${socket}` }
}
function openAt(environment: NodeJS.ProcessEnv, location: string, more: Partial<EngineOptions> = {}): Promise<Image> {
  return openDockerImage(location, {
    environment,
    spoolDirectory: work,
    onProgress: () => {},
    onWarning: () => {},
    ...more,
  })
}
/** All that a verb reads of a source, by a manifest of its own. */
async function read(
  location: string,
  door: Pick<Door, 'socket'>,
  more: { manifest?: Manifest; pause?: boolean; warnings?: string[] } = {},
): Promise<ReadSource> {
  using own = openManifest(mkdtempSync(join(work, 'state-')))
  const [kind = '', name = ''] = location.split(/:(.*)/s)
  const context = {
    stateDirectory: mkdtempSync(join(work, 'state-')),
    environment: at(door.socket),
    image: { pause: more.pause ?? true },
    undo: new Set(),
    stdin: new PassThrough(),
    onEvent: (event) => void (event.kind === 'warning' && more.warnings?.push(event.code)),
  } as Partial<Context> as Context
  const source = await readSource({ kind: kind as 'container', location: name }, more.manifest ?? own, context)
  for (const layer of source.layers) layer.tree() // while the manifest is open
  return source
}
const remove = (name: string): void => void engine.docker('rm', '-f', name)
const seen = (source: ReadSource): Tree => flatten(source.layers.map((layer) => layer.tree()))

describe('openDockerImage()', () => {
  test('gives the layers, the config and the commands that docker save would', async () => {
    await using image = await openAt(at(engine.socket), 'app:1')
    const { trees } = await readImage(image)
    expect(trees).toEqual(whole.trees)
    expect(image.layers.map(({ history }) => history)).toEqual(whole.image.layers.map(({ history }) => history))
    expect(image.platform).toEqual(whole.image.platform)
  })
  test('asks for no layer before one is opened, and for the image by its id', async () => {
    using door = await openDoor(engine.socket)
    await using image = await openAt(at(door.socket), 'app:1')
    expect(door.asked).toEqual(['GET /images/app:1/json', 'GET /images/ID/history'])
    const [first, second] = image.layers
    for (const layer of [first, second, first]) for await (const chunk of layer!.open()) expect(chunk).toBeDefined()
    expect(door.asked.slice(2)).toEqual(['GET /images/ID/get'])
  })
  test('asks for the rest once where a layer is opened that was not expected', async () => {
    using door = await openDoor(engine.socket)
    await using image = await openAt(at(door.socket), 'app:1')
    const { layers } = image
    image.expect?.([layers[0]!.diffId])
    for (const layer of layers) for await (const chunk of layer.open()) expect(chunk).toBeDefined()
    expect(door.asked.slice(2)).toEqual(['GET /images/ID/get', 'GET /images/ID/get'])
  })
  test('finds the engine by the current context of Docker', async () => {
    const docker = join(work, 'docker-config')
    const meta = join(docker, 'contexts/meta', createHash('sha256').update('mine').digest('hex'))
    mkdirSync(meta, { recursive: true })
    writeFileSync(join(docker, 'config.json'), '{"auths":{},"currentContext":"mine"}')
    writeFileSync(join(meta, 'meta.json'), JSON.stringify({ Name: 'mine', Endpoints: { docker: { Host: `unix://${engine.socket}` } } })) // prettier-ignore
    await using image = await openAt({ DOCKER_CONFIG: docker }, 'app:1')
    expect(image.layers).toHaveLength(13)
    const other = openAt({ DOCKER_CONFIG: docker, DOCKER_CONTEXT: 'other' }, 'app:1')
    await expect(other).rejects.toMatchObject({ code: 'E_CONFIG', message: expect.stringContaining('"other"') })
    const first = openAt({ DOCKER_CONFIG: docker, DOCKER_HOST: 'unix:///nothing' }, 'app:1')
    await expect(first).rejects.toMatchObject({ code: 'E_ENGINE', message: expect.stringContaining('"unix:///nothing"') }) // prettier-ignore
  })
  test('finds the engine where engines usually are', () => {
    mkdirSync(join(work, 'home'))
    mkdirSync(join(work, 'runtime/podman'), { recursive: true })
    // this machine may have an engine of its own
    const words = ['--mount', 'sh', '-c', 'mount -t tmpfs none /run && exec "$@"', 'sh', process.execPath, 'bin/varve.js', 'plan', 'docker-daemon:nothing', 'local:x', '--state-dir', join(work, 'home'), '--json'] // prettier-ignore
    const env = { PATH: process.env['PATH'], HOME: join(work, 'home'), XDG_RUNTIME_DIR: join(work, 'runtime') }
    const said = (): unknown => (JSON.parse(run('unshare', words, env)) as { error: unknown }).error
    expect(said()).toMatchObject({ code: 'E_ENGINE', message: expect.stringContaining('unix:///var/run/docker.sock') })
    for (const socket of ['podman/podman.sock', 'docker.sock']) {
      symlinkSync(engine.socket, join(work, 'runtime', socket))
      expect(said()).toMatchObject({ code: 'E_IMAGE', message: expect.stringContaining(join(work, 'runtime', socket)) })
    }
  })
  test('speaks TCP on loopback, and nowhere else', async () => {
    using door = await openDoor(engine.socket, {}, 0)
    await using image = await openAt({ DOCKER_HOST: `tcp://127.0.0.1:${door.port}` }, 'app:1')
    expect(image.layers).toHaveLength(13)
    for (const host of ['tcp://10.0.0.1:2375', 'ssh://me@host', 'npipe:////./pipe/docker', 'tcp://127.0.0.1.evil:1'])
      await expect(openAt({ DOCKER_HOST: host }, 'app:1')).rejects.toMatchObject({ code: 'E_ENGINE' })
    const secured = openAt({ DOCKER_HOST: `tcp://127.0.0.1:${door.port}`, DOCKER_TLS_VERIFY: '1' }, 'app:1')
    await expect(secured).rejects.toMatchObject({ code: 'E_ENGINE' })
  })
  test.each(['../containers/x', 'app/../base', 'app?x=1', '-v', 'app 1', 'app//x', 'app\n', 'x'.repeat(2000)])(
    'refuses the name %j unasked',
    async (name) => {
      await expect(openAt({ DOCKER_HOST: 'unix:///nothing' }, name)).rejects.toMatchObject({ code: 'E_IMAGE' })
    },
  )
})

describe('openDockerImage() says', () => {
  test('that the engine has no such image', async () => {
    await expect(openAt(at(engine.socket), 'nothing:1')).rejects.toMatchObject({ code: 'E_IMAGE' })
  })
  test('93 that it may not ask, and what to do', async () => {
    const state = mkdtempSync(join(tmpdir(), 'varve-nobody-'))
    execFileSync('chown', ['nobody', state])
    const words = ['--reuid=nobody', '--regid=nogroup', '--clear-groups', process.execPath, 'bin/varve.js', 'plan', 'docker-daemon:app:1', 'local:x', '--state-dir', state, '--json'] // prettier-ignore
    const ran = run('setpriv', words, { ...process.env, ...at(engine.socket) })
    rmSync(state, { recursive: true })
    expect(JSON.parse(ran)).toMatchObject({ error: { code: 'E_DOCKER_PERM', hint: expect.stringContaining('docker') } })
    expect(ran).toContain(engine.socket)
  })
  test('what the engine said, safe at a terminal', async () => {
    using door = await openDoor(engine.socket, {
      answer: (_, response) => {
        response.writeHead(500)
        response.end(JSON.stringify({ message: 'no \u001b[31mspace\nleft' }))
        return undefined
      },
    })
    const message = expect.stringContaining('it answered 500 ("no \\x1b[31mspace\\x0aleft")') as string
    await expect(openAt(at(door.socket), 'app:1')).rejects.toMatchObject({ code: 'E_ENGINE', message })
  })
  test('74 that a label is too large', async () => {
    using door = await openDoor(engine.socket, {
      answer: (_, response) => {
        response.end(JSON.stringify({ Config: { Labels: { x: 'x'.repeat(10 << 20) } } }))
        return undefined
      },
    })
    await expect(openAt(at(door.socket), 'app:1')).rejects.toMatchObject({ code: 'E_LIMIT' })
  })
  test.each([
    [{ WorkingDir: '/proc/self/fd/7' }, 'E_CONFIG_CWD'],
    [{ Env: ['A=1\nB=2'] }, 'E_CONFIG_ENV'],
    [{ User: 'root;id' }, 'E_CONFIG_USER'],
    [{ Entrypoint: [''] }, 'E_CONFIG_CMD'],
  ])('70 to 73 that %j is no config', async (config, code) => {
    using door = await openDoor(engine.socket, {
      answer: (asked, response) => {
        if (!asked.includes('/images/app:1/json')) return 'pass'
        const [, Id] = /"Id": "(sha256:[0-9a-f]+)"/.exec(engine.docker('image', 'inspect', 'app:1')) ?? []
        response.end(JSON.stringify({ Id, Architecture: 'amd64', Os: 'linux', Config: config, RootFS: { Layers: [] } }))
        return undefined
      },
    })
    await expect(openAt(at(door.socket), 'app:1')).rejects.toMatchObject({ code })
  })
  test.each<[string, Spoil, string]>([
    ['is cut off', cutOff('/get', 'destroy'), 'E_LOST'],
    ['ends too early', cutOff('/get', 'end'), 'E_TAR_TRUNC'],
    ['ends behind a member', cutOff('/get', 'end', 512), 'E_TAR_TRUNC'],
  ])('that the stream %s, and keeps no layer of it', async (_, spoil, code) => {
    using door = await openDoor(engine.socket, { spoil })
    using manifest = openManifest(mkdtempSync(join(work, 'state-')))
    await expect(read('docker-daemon:app:1', door, { manifest })).rejects.toMatchObject({ code })
    expect(manifest.layer(whole.image.layers[0]!.diffId)).toBeUndefined()
  })
  test('nothing where the engine gives no more than the layers that are not known', async () => {
    engine.docker('create', '--name', 'more', 'base', 'true')
    engine.docker('cp', join(work, 'base.tar'), 'more:/more')
    engine.docker('commit', 'more', 'more')
    remove('more')
    const saved = join(work, 'saved')
    mkdirSync(saved)
    engine.docker('save', '-o', `${saved}.tar`, 'more')
    execFileSync('tar', ['-C', saved, '-xf', `${saved}.tar`])
    const top = engine.docker('inspect', '--format', '{{index .RootFS.Layers 1}}', 'more')
    const layers = execFileSync('sh', ['-c', 'sha256sum */layer.tar'], { cwd: saved, encoding: 'utf8' }).split('\n')
    const path = layers.find((line) => `sha256:${line.slice(0, 64)}` === top)?.slice(66) ?? ''
    execFileSync('tar', ['-C', saved, '--create', '--file', `${saved}.tar`, path])
    using door = await openDoor(engine.socket, {
      answer: (asked, response) => {
        if (!asked.endsWith('/get')) return 'pass'
        response.end(readFileSync(`${saved}.tar`))
        return undefined
      },
    })
    await expect(read('docker-daemon:more', door)).rejects.toMatchObject({ code: 'E_BLOB_MISSING' })
    using manifest = openManifest(mkdtempSync(join(work, 'state-')))
    await (await read('docker-daemon:base', engine, { manifest }))[Symbol.asyncDispose]()
    await using source = await read('docker-daemon:more', door, { manifest })
    expect(
      source.layers
        .at(-1)!
        .tree()
        .entries.map(({ path }) => path),
    ).toContain('more')
  })
  test('63 that layers are not what was said of them', async () => {
    using door = await openDoor(engine.socket, {
      answer: (asked, response) => {
        if (!asked.endsWith('/get')) return 'pass'
        response.end(readFileSync(join(work, 'base.tar')))
        return undefined
      },
    })
    await expect(read('docker-daemon:app:1', door)).rejects.toMatchObject({ code: 'E_BLOB_MISSING' })
  })
})

/** Lets a part of the answer through and then breaks off, one way or the other. */
function cutOff(path: string, how: 'destroy' | 'end', most = Infinity): Spoil {
  return (asked, answered, response) => {
    if (!asked.endsWith(path)) return 'pass'
    response.writeHead(200)
    answered.once('data', (bytes: Buffer) => {
      answered.destroy()
      response.write(bytes.subarray(0, Math.min(most, bytes.length - (bytes.length % 512))), () => response[how]())
    })
    return undefined
  }
}

function run(command: string, words: readonly string[], env: NodeJS.ProcessEnv): string {
  try {
    return execFileSync(command, words, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  } catch (error) {
    return String((error as { stdout: unknown }).stdout)
  }
}

describe('container:', () => {
  const start = (name: string, script: string, ...more: string[]): string =>
    engine.docker('run', '-d', '--network', 'none', '--name', name, ...more, 'base', 'sh', '-c', `${script}; echo >/ready; exec sleep 1000`) // prettier-ignore
  const inspect = (name: string, format: string): string => engine.docker('inspect', '--format', format, name)
  const ready = (name: string): void => void engine.docker('exec', name, 'sh', '-c', 'while ! [ -e /ready ]; do sleep 0.01; done') // prettier-ignore

  test('is the layers of its image and one of its own changes, read while it is paused', async () => {
    start('live', 'echo hi >/new; echo more >>/etc/passwd; rm /bin/id; mkdir /d; echo x >/d/x; echo x >/d/y', '-v', `${work}:/mounted`) // prettier-ignore
    ready('live')
    using door = await openDoor(engine.socket)
    const warnings: string[] = []
    await using source = await read('container:live', door, { warnings })
    expect(warnings).toEqual(['W_VOLUME'])
    expect(door.asked).toEqual([
      'GET /containers/live/json',
      'POST /containers/ID/pause',
      'GET /containers/ID/export',
      'POST /containers/ID/unpause',
      'GET /images/ID/json',
      'GET /images/ID/history',
      'GET /images/ID/get',
    ])
    expect(inspect('live', '{{.State.Status}}')).toBe('running')
    const [base, own, ...others] = source.layers
    expect(others).toEqual([])
    expect(`[${base!.origin}]`).toBe(engine.docker('image', 'inspect', '--format', '{{.RootFS.Layers}}', 'base'))
    expect(own!.origin).toBe('container:live')
    const changed = own!.tree().entries.filter(({ kind }) => kind !== 'directory').map(({ path }) => path) // prettier-ignore
    const ofDocker = ['.dockerenv', 'dev/console', 'etc/hostname', 'etc/hosts', 'etc/mtab', 'etc/resolv.conf']
    expect(changed).toEqual([...ofDocker, 'bin/id', 'd/x', 'd/y', 'etc/passwd', 'new', 'ready'].toSorted())
    // what the kernel shows of it, to the second: all that an export tells of what is new
    const merged = await scan(inspect('live', '{{.GraphDriver.Data.MergedDir}}'))
    expect(seen(source).entries.map(wholeSeconds)).toEqual(merged.entries.map(wholeSeconds))
    for (const entry of own!.tree().entries)
      if (entry.kind === 'file') expect(sha256(await bytesOf(source.contents(entry)))).toBe(entry.sha256)
    const { says } = source
    if (says.kind !== 'container') throw new Error(`it says what a ${says.kind} does`)
    expect(JSON.parse(says.text)).toMatchObject({ config: { Env: ['BASE=1'], Cmd: ['sh', '-c', expect.anything()] } })
    expect(JSON.parse(says.inspected)).toMatchObject({ Name: '/live', Mounts: [{ Source: work, Destination: '/mounted' }] }) // prettier-ignore
    expect(JSON.parse(says.runtime?.text ?? '')).toMatchObject({ process: { env: expect.arrayContaining(['BASE=1']) } })
    remove('live')
  })
  test('of an image with all that layers can have adds only what the engine made', async () => {
    engine.docker('create', '--name', 'odd', 'app:1', 'true')
    await using source = await read('container:odd', engine)
    expect(source.layers).toHaveLength(14)
    const below = flatten(whole.trees).entries
    const all = new Map(seen(source).entries.map((entry) => [entry.path, entry]))
    const made = new Set(
      source.layers
        .at(-1)!
        .tree()
        .entries.map(({ path }) => path),
    )
    for (const entry of below) if (!made.has(entry.path)) expect(all.get(entry.path)).toEqual(entry)
    // times of fractions, attributes and links are still those of the layers
    for (const path of ['fine', 'etc/passwd', 'usr/lib/a', 'usr/lib/d', 'raw\xffname', 'usr/bin/capable'])
      expect(made, path).not.toContain(path)
    remove('odd')
  })
  test('is not paused where it is not to be, was already, or does not run', async () => {
    start('still', 'true')
    ready('still')
    const asked = async (pause: boolean): Promise<string[]> => {
      using door = await openDoor(engine.socket)
      await (await read('container:still', door, { pause }))[Symbol.asyncDispose]()
      return door.asked.filter((line) => line.startsWith('POST'))
    }
    expect(await asked(false)).toEqual([])
    engine.docker('pause', 'still')
    expect(await asked(true)).toEqual([])
    expect(inspect('still', '{{.State.Status}}')).toBe('paused')
    engine.docker('unpause', 'still')
    engine.docker('kill', 'still')
    expect(await asked(true)).toEqual([])
    remove('still')
  })
  test('goes on where reading fails', async () => {
    start('fails', 'true')
    for (const [how, most, code] of [
      ['destroy', Infinity, 'E_LOST'],
      ['end', Infinity, 'E_TAR_TRUNC'],
      ['end', 512, 'E_TAR_TRUNC'],
    ] as const) {
      using door = await openDoor(engine.socket, { spoil: cutOff('/export', how, most) })
      await expect(read('container:fails', door)).rejects.toMatchObject({ code })
      expect(inspect('fails', '{{.State.Status}}')).toBe('running')
      expect(door.asked).toContain('POST /containers/ID/unpause')
    }
    remove('fails')
  })
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('goes on where varve is ended by %s', async (signal) => {
    start('ended', 'true')
    let stalled = (): void => {}
    const reading = new Promise<void>((resolve) => (stalled = resolve))
    using door = await openDoor(engine.socket, {
      spoil: (asked) => {
        if (!asked.endsWith('/export')) return 'pass'
        stalled()
        return undefined
      },
    })
    const child = startVarve(['plan', 'container:ended', 'local:x', '--state-dir', mkdtempSync(join(work, 'state-'))], { env: at(door.socket) }) // prettier-ignore
    const ended = new Promise((resolve) => child.once('exit', resolve))
    await reading
    expect(inspect('ended', '{{.State.Status}}')).toBe('paused')
    child.kill(signal)
    expect(await ended).toBe(130)
    expect(inspect('ended', '{{.State.Status}}')).toBe('running')
    remove('ended')
  })
  test('92 says that it was removed meanwhile', async () => {
    start('gone', 'true')
    using door = await openDoor(engine.socket, {
      spoil: (asked, answered, response) => {
        if (!asked.endsWith('/export')) return 'pass'
        answered.destroy()
        remove('gone')
        response.destroy()
        return undefined
      },
    })
    await expect(read('container:gone', door)).rejects.toMatchObject({ code: 'E_SOURCE_GONE' })
  })
  test('says that there is none, and what a name is', async () => {
    await expect(read('container:nothing', engine)).rejects.toMatchObject({ code: 'E_SOURCE', hint: expect.stringContaining('docker ps') }) // prettier-ignore
    for (const name of ['-x', 'a/b', 'a b', 'a?b', '..'])
      await expect(read(`container:${name}`, engine)).rejects.toMatchObject({ code: 'E_NAME' })
  })
})

async function scan(directory: string): Promise<Tree> {
  const { tree } = await scanDirectory(byteString(directory), { hash, previous: undefined, onWarning: () => {} })
  return tree ?? { entries: [] }
}
function wholeSeconds(entry: Entry): Entry {
  // no engine exports the root
  return { ...entry, mtimeNs: entry.path === '' ? 0n : entry.mtimeNs / 10n ** 9n }
}
function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
async function bytesOf(contents: AsyncIterable<Uint8Array> | Uint8Array): Promise<Uint8Array> {
  if (contents instanceof Uint8Array) return contents
  const chunks: Uint8Array[] = []
  for await (const chunk of contents) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe('varve', () => {
  let host: Host
  let common: string[]
  beforeAll(async () => {
    host = await startHost()
    common = ['-F', host.sshConfig, '--state-dir', mkdtempSync(join(work, 'state-'))]
  })
  afterAll(() => host.stop())

  test('push docker-daemon: sends an image once, and then only asks what it is', async () => {
    using door = await openDoor(engine.socket)
    const words = ['docker-daemon:base', `${host.alias}:app`, ...common]
    const pushed = await varveData<Report>(['push', ...words], { env: at(door.socket) })
    expect(pushed).toMatchObject({ generation: 1, layers: [{ state: 'sent' }] })
    door.asked.length = 0
    const planned = await varveData<{ report: Report; changes: boolean }>(['plan', ...words], { env: at(door.socket) })
    expect(planned).toMatchObject({ changes: false, report: { bytes: { delta: 0 } } })
    expect(door.asked).toEqual(['GET /images/base/json', 'GET /images/ID/history'])
    expect(planned.report.seconds.scan).toBeLessThan(0.5)
  })
  test('push container: sends what a container changed, and runs what it ran', async () => {
    engine.docker('create', '--name', 'app', '-e', 'MINE=2', '-w', '/tmp', '-u', '7:8', 'base', 'echo', 'hello')
    writeFileSync(join(work, 'config'), 'key = value\n')
    engine.docker('cp', join(work, 'config'), 'app:/etc/config')
    using door = await openDoor(engine.socket)
    const pushed = await varveData<Report>(['push', 'container:app', `${host.alias}:app`, ...common], {
      env: at(door.socket),
    })
    expect(pushed).toMatchObject({ generation: 2, layers: [{ state: 'present' }, { state: 'sent' }] })
    expect(pushed.bytes.sent + pushed.bytes.received).toBeLessThan(25_000)
    expect(door.asked).not.toContain('GET /images/ID/get')
    const bundle = host.path('/var/lib/varve/c/app/bundle/2')
    const { process } = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'))
    expect(process).toMatchObject({ args: ['echo', 'hello'], cwd: '/tmp', user: { uid: 7, gid: 8 } })
    expect(process.env).toEqual(expect.arrayContaining(['BASE=1', 'MINE=2']))
    expect(readFileSync(join(bundle, 'rootfs/etc/config'), 'utf8')).toBe('key = value\n')
    remove('app')
  })
  test('plan says in JSON that there is no engine', async () => {
    const error = await varveError(['plan', 'docker-daemon:app', 'local:app', ...common], { env: at('/nothing.sock') })
    expect(error).toMatchObject({
      code: 'E_ENGINE',
      status: 3,
      message: 'cannot reach the container engine at "unix:///nothing.sock": there is no such socket',
    })
  })
})

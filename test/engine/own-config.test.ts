// The config.json of containers that a real dockerd and Podman run: where it stands, and that what they say makes the same.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { at, parseObject, print, textAt, type Json, type JsonObject } from '../../src/bundle/document.ts'
import { imageSays } from '../../src/bundle/image.ts'
import { fromInspect } from '../../src/bundle/inspect.ts'
import { rewrite } from '../../src/bundle/rewrites.ts'
import { resolveUser } from '../../src/bundle/user.ts'
import { ownConfig } from '../../src/engine/own-config.ts'
import { UNKNOWN } from '../../src/model/engine.ts'
import { startDockerd, startPodman, type Engine } from '../fixture/dockerd.ts'
import { baseTrees } from '../fixture/trees.ts'

let work: string
let engines: Record<'docker' | 'podman', Engine>

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'varve-own-'))
  execFileSync('mount', ['-t', 'tmpfs', 'varve-own', work])
  const conf = join(work, 'storage.conf')
  writeFileSync(conf, `[storage]\ndriver = "overlay"\ngraphroot = "${work}/root"\nrunroot = "${work}/run"\n`)
  const podman = await startPodman(join(work, 'podman'), { ...process.env, CONTAINERS_STORAGE_CONF: conf })
  engines = { docker: await startDockerd(), podman }
  execFileSync('tar', ['-C', baseTrees().rootfsBusybox, '--create', '--file', join(work, 'base.tar'), '.'])
  for (const { docker } of Object.values(engines)) docker('import', join(work, 'base.tar'), 'base') // prettier-ignore
})
afterAll(async () => {
  for (const engine of Object.values(engines)) await engine[Symbol.asyncDispose]()
  execFileSync('umount', ['-R', '-l', work])
  rmSync(work, { recursive: true })
})

const FLAGS = [
  '--network none --stop-signal SIGINT -e A=1 -w /tmp -u 7:8 --hostname own --memory 64m --pids-limit 99',
  '--cap-drop MKNOD --cap-add SYS_TIME --read-only --tmpfs /scratch:size=1m -v data:/data -v /mnt:/mnt:ro',
].flatMap((line) => line.split(' '))

async function started(name: 'docker' | 'podman', flags: readonly string[]): Promise<JsonObject> {
  const { docker } = engines[name]
  docker('run', '-d', '--name', 'own', ...flags, 'base', 'sleep', '1000')
  return (parseObject(`{"all":${docker('inspect', 'own')}}`, 'it')['all'] as JsonObject[])[0] ?? {}
}

describe.each(['docker', 'podman'] as const)('ownConfig() of %s', (name) => {
  afterAll(() => void engines[name].docker('rm', '-f', 'own'))

  test('is what the container runs by, and what the engine says makes much the same', async () => {
    const container = await started(name, FLAGS)
    const found = await ownConfig(container)
    const own = parseObject(found?.text ?? '', 'it')
    expect(found?.path).toContain(textAt(container, 'Id'))
    expect(at(own, 'process', 'args')).toEqual(['sleep', '1000'])
    const says = imageSays(JSON.stringify({ config: container['Config'] }))
    const user = resolveUser(says.process.user, { passwd: undefined, group: undefined })
    const made = fromInspect(container, { ...says, volumes: [], user, name: 'app' })
    expect(made['annotations']).toMatchObject({ 'org.opencontainers.image.stopSignal': expect.stringMatching(/^(?:SIGINT|2)$/) }) // prettier-ignore

    // as both are on a host
    const around = { container: 'app', engine: 'runc', facts: UNKNOWN, network: { kind: 'none' }, foreign: false, volumes: new Map(), covered: new Set(['/data', '/mnt']) } as const // prettier-ignore
    const [theirs, ours] = [rewrite(own, { ...around, made: false }, []).config, rewrite(made, { ...around, made: true }, []).config]
    for (const path of [['process', 'args'], ['process', 'cwd'], ['process', 'user', 'uid'], ['process', 'user', 'gid'], ['root', 'readonly'], ['hostname'], ['linux', 'resources', 'memory'], ['linux', 'resources', 'pids'], ['linux', 'cgroupsPath']])
      expect(known(at(ours, ...path)), path.join('.')).toEqual(known(at(theirs, ...path)))
    const set = (config: JsonObject, ...path: string[]): string[] => (at(config, ...path) as JsonObject[]).map((item) => item['destination'] ?? item['type'] ?? item).map((item) => JSON.stringify(item)).toSorted((a, b) => (a < b ? -1 : 1))
    expect(set(ours, 'process', 'capabilities', 'bounding')).toEqual(set(theirs, 'process', 'capabilities', 'bounding'))
    expect(set(ours, 'linux', 'namespaces')).toEqual(set(theirs, 'linux', 'namespaces'))
    // what Podman has read-only of /proc, varve hides
    expect([...set(ours, 'linux', 'readonlyPaths'), ...set(ours, 'linux', 'maskedPaths')]).toEqual(expect.arrayContaining(set(theirs, 'linux', 'readonlyPaths')))
    // a cgroup file system is for who asks for it, and Podman has places of its own for a root that is read-only
    const others = new Set(['/sys/fs/cgroup', '/tmp', '/run', '/var/tmp'])
    expect(set(ours, 'mounts').filter((place) => !others.has(JSON.parse(place) as string))).toEqual(set(theirs, 'mounts').filter((place) => !others.has(JSON.parse(place) as string)))
    expect(print(ours)).toContain('"A=1"')
  }) // prettier-ignore

  test('is none where the container does not run, or is another', async () => {
    const { docker } = engines[name]
    const [container = {}] = parseObject(`{"all":${docker('inspect', 'own')}}`, 'it')['all'] as JsonObject[]
    expect(await ownConfig({ ...container, Id: 'f'.repeat(64) })).toBeUndefined()
    expect(await ownConfig({ ...container, State: { Pid: 0 } })).toBeUndefined()
    expect(await ownConfig({ ...container, State: { Pid: 1 } })).toBeUndefined()
    expect(await ownConfig({ ...container, State: null })).toBeUndefined()
    docker('kill', 'own')
    const [stopped = {}] = parseObject(`{"all":${docker('inspect', 'own')}}`, 'it')['all'] as JsonObject[]
    expect(await ownConfig(stopped)).toBeUndefined()
    expect(await ownConfig(container)).toBeUndefined()
  })
})

test('ownConfig() believes no process that merely has the number', async () => {
  const id = 'e'.repeat(64)
  const inside = join(work, id)
  execFileSync('mkdir', [inside])
  writeFileSync(join(inside, 'config.json'), '{"own":1}')
  const shim = spawn('sh', ['-c', 'sleep 100 & echo $!; wait'], { cwd: inside, stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    const pid = await numberFrom(shim)
    expect(await ownConfig({ Id: id, State: { Pid: pid } })).toEqual({ text: '{"own":1}', path: join(inside, 'config.json') }) // prettier-ignore
    expect(await ownConfig({ Id: 'd'.repeat(64), State: { Pid: pid } })).toBeUndefined()
  } finally {
    shim.kill('SIGKILL')
  }
})

/** Zero and nothing are the same to an engine. */
function known(value: Json | undefined): unknown {
  if (value === undefined || value === false) return undefined
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== false && item !== 0))
}

async function numberFrom(child: ChildProcess): Promise<number> {
  const [chunk] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  return Number(chunk.toString())
}

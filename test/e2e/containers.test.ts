// Live containers and images of a real dockerd and Podman, pushed and then run on a host by runc and crun.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Planned } from '../../src/verbs/plan.ts'
import type { Report } from '../../src/verbs/report.ts'
import { openDoor, startDockerd, startPodman, type Engine, type Spoil } from '../fixture/dockerd.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { baseTrees } from '../fixture/trees.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'

let host: Host
let work: string
let common: string[]
let engines: Record<'docker' | 'podman', Engine>

beforeAll(async () => {
  host = await startHost()
  work = mkdtempSync(join(tmpdir(), 'varve-containers-'))
  execFileSync('mount', ['-t', 'tmpfs', 'varve-containers', work])
  common = ['-F', host.sshConfig, '--state-dir', join(work, 'state')]
  writeFileSync(
    join(work, 'storage.conf'),
    `[storage]\ndriver = "overlay"\ngraphroot = "${work}/root"\nrunroot = "${work}/run"\n`,
  )
  const podman = await startPodman(join(work, 'podman'), storage())
  engines = { docker: await startDockerd(), podman }
  const base = join(work, 'base')
  execFileSync('cp', ['-a', baseTrees().rootfsBusybox, base])
  writeFileSync(join(base, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nfossil:x:499:498::/museum:/bin/sh\n')
  writeFileSync(join(base, 'etc/group'), 'root:x:0:\nfossil:x:498:\nstaff:x:50:fossil\n')
  execFileSync('sh', ['-c', 'mkdir "$0/museum"; echo seed >"$0/museum/seed"; chown -R 499:498 "$0/museum"', base])
  execFileSync('tar', ['-C', base, '--create', '--file', join(work, 'base.tar'), '.'])
  const changes = ['USER fossil', 'WORKDIR /museum', 'ENV A=1', 'VOLUME /museum', 'EXPOSE 8080', 'LABEL note=x', 'CMD ["sh","-c","echo $A $(id -u):$(id -g) $(id -G) $(pwd); ls; echo more >more"]'] // prettier-ignore
  for (const { docker } of Object.values(engines)) docker('import', ...changes.flatMap((change) => ['-c', change]), join(work, 'base.tar'), 'fossil') // prettier-ignore
})
afterAll(async () => {
  await host.stop()
  for (const engine of Object.values(engines)) await engine[Symbol.asyncDispose]()
  execFileSync('umount', ['-R', '-l', work])
  rmSync(work, { recursive: true })
})
/** Podman's, of this test alone. */
const storage = (): NodeJS.ProcessEnv => ({ ...process.env, CONTAINERS_STORAGE_CONF: join(work, 'storage.conf') })
const sh = async (script: string): Promise<string> => {
  const { status, stdout, stderr } = await host.exec(script)
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stdout.toString()}${stderr}`)
  return stdout.toString()
}

describe.each(['docker', 'podman'] as const)('of %s', (name) => {
  const env = (): NodeJS.ProcessEnv => ({ DOCKER_HOST: `unix://${engines[name].socket}` })
  const to = (container: string): string => `${host.alias}:${name}-${container}`
  const run = (container: string, engine: string): Promise<string> => sh(`cd /var/lib/machines/${name}-${container} && ${engine} run ${container} </dev/null 2>&1`) // prettier-ignore

  test('a container that runs is run by its own config.json, once its volume has a place', async () => {
    const { docker } = engines[name]
    const wait = 'until [ -e /museum/go ]; do sleep 0.1; done; echo ran as $(id -u):$(id -g) in $(pwd) with $A; cat /museum/go; echo done >/museum/done'
    docker('run', '-d', '--name', 'live', '--network', 'none', '-v', 'data:/museum', '-e', 'A=2', '--memory', '64m', '--stop-signal', 'SIGINT', 'fossil', 'sh', '-c', wait)
    const words = ['container:live', to('live'), ...common]
    const refused = await varveError(['push', ...words], { env: env() })
    expect(refused).toMatchObject({ code: 'E_CONFIG', status: 2, message: expect.stringContaining('/museum (volume data)'), hint: 'give it a place there: --persist /museum (--mount none:/museum for no mount)' })
    const place = ['--mount', `/srv/${name}:/museum`]
    const { config } = await varveData<Planned>(['plan', ...words, ...place], { env: env() })
    expect(config.from).toMatch(/^"\/.*\/[0-9a-f]{64}\/.*config\.json"$/)
    await varveData(['push', ...words, ...place], { env: env() })
    await sh(`mkdir -p /srv/${name} && echo go >/srv/${name}/go && chown -R 499 /srv/${name}`)
    for (const engine of ['runc', 'crun']) expect(await run('live', engine)).toBe('ran as 499:498 in /museum with 2\ngo\n')
    expect(await sh(`cat /srv/${name}/done`)).toBe('done\n')
    const made = JSON.parse(await sh(`cat /var/lib/machines/${name}-live/config.json`)) as { linux: object; annotations: object }
    expect(made.linux).toMatchObject({ cgroupsPath: `/varve/${name}-live`, seccomp: {}, resources: { memory: { limit: 64 << 20 } } })
    expect(made.annotations).toMatchObject({ 'org.opencontainers.image.stopSignal': expect.stringMatching(/^(?:SIGINT|2)$/) })
    docker('rm', '-f', 'live')
  }) // prettier-ignore

  test('a container that does not run is run by what the engine says of it', async () => {
    const { docker } = engines[name]
    docker('create', '--name', 'still', '--network', 'none', '-e', 'A=3', '-u', '7:8', '-w', '/', '--tmpfs', '/museum', 'fossil', 'sh', '-c', 'echo $A $(id -u):$(id -g) $(pwd)') // prettier-ignore
    const { config } = await varveData<Planned>(['plan', 'container:still', to('still'), ...common], { env: env() })
    expect(config.from).toBe('what the engine says of "container:still"')
    await varveData(['push', 'container:still', to('still'), ...common], { env: env() })
    for (const engine of ['runc', 'crun']) expect(await run('still', engine)).toBe('3 7:8 /\n')
    docker('rm', '-f', 'still')
  })

  test('an image is run as its own user, in its own directory, its volume in memory', async () => {
    const words = ['docker-daemon:fossil', to('image'), ...common]
    const planned = await varve(['plan', ...words], { env: env() })
    expect(planned.stdout).toContain("config   the image's config, for runc\n")
    expect(planned.stdout).toContain('volume /museum: memory (--persist /museum keeps it)\n')
    const pushed = await varve(['push', ...words], { env: env() })
    expect(pushed.stderr).toContain("the image's volume /museum is in memory and empty after each restart: --persist /museum keeps it [W_VOLUME]") // prettier-ignore
    for (const engine of ['runc', 'crun']) {
      // what the image has there is there each time, and what was written is not
      expect(await run('image', engine)).toBe('1 499:498 498 50 /museum\nseed\n')
      expect(await run('image', engine)).toBe('1 499:498 498 50 /museum\nseed\n')
    }
    const { annotations } = JSON.parse(await sh(`cat /var/lib/machines/${name}-image/config.json`)) as { annotations: Record<string, string> } // prettier-ignore
    expect(annotations).toMatchObject({ note: 'x', 'org.opencontainers.image.os': 'linux', 'org.opencontainers.image.exposedPorts': '8080/tcp' }) // prettier-ignore
    // nothing at all is in the writable layer
    await varveData(['push', ...words, '--mount', 'none:/museum'], { env: env() })
    expect(await run('image', 'runc')).toBe('1 499:498 498 50 /museum\nseed\n')
    expect(await run('image', 'runc')).toBe('1 499:498 498 50 /museum\nmore\nseed\n')
    await varveData(['push', ...words, '--user', 'root', '--cwd', '/'], { env: env() })
    expect(await run('image', 'runc')).toMatch(/^1 0:0 0 \/\n/)
  })
})

test('labels that an engine would take as orders do not reach it', async () => {
  const { docker, socket } = engines.docker
  docker('import', '-c', 'LABEL run.oci.hooks.stdout=/evil varve.settings={}', join(work, 'base.tar'), 'labels')
  const pushed = await varve(['push', 'docker-daemon:labels', `${host.alias}:labels`, ...common], { env: { DOCKER_HOST: `unix://${socket}` } }) // prettier-ignore
  expect(pushed.stderr).toContain('run.oci.hooks.stdout, varve.settings [W_LABEL]')
  expect(readFileSync(host.path('/var/lib/varve/c/labels/bundle/1/config.json'), 'utf8')).not.toMatch(/run\.oci|varve\.settings/) // prettier-ignore
})

describe.each([
  ['docker', 256],
  ['podman', 4096],
] as const)('built again, with nothing in the cache, an image of %s', (name, moved) => {
  let program: Buffer
  const state = (of = `state-${name}`): string[] => ['-F', host.sshConfig, '--state-dir', join(work, of)]
  const words = (verb: string, ...more: string[]): string[] => [verb, 'docker-daemon:app', `${host.alias}:${name}-app`, ...more] // prettier-ignore
  const at = (socket: string): { env: NodeJS.ProcessEnv } => ({ env: { DOCKER_HOST: `unix://${socket}` } })
  const deltaOf = async (socket: string, ...more: string[]): Promise<number> => (await varveData<Planned>(words('plan', ...more), at(socket))).report.bytes.delta // prettier-ignore
  const push = (socket: string, ...more: string[]): Promise<Report> => varveData<Report>(words('push', ...more), at(socket)) // prettier-ignore
  const prune = (): Promise<unknown> => varveData(['cache', 'prune', '--state-dir', join(work, `state-${name}`)])
  const deployed = async (): Promise<string> => sh(`sha256sum </var/lib/machines/${name}-app/rootfs/program`)
  const built = (): string => `${createHash('sha256').update(program).digest('hex')}  -\n`
  const lists = (asked: readonly string[]): number => asked.filter((line) => line === 'GET /images/json').length
  /** The source is read before. */
  const savedOthers = (asked: readonly string[]): number => asked.slice(asked.indexOf('GET /images/json')).filter((line) => line === 'GET /images/ID/get').length // prettier-ignore

  /** Many addresses are others, so that no block of it is as it was; the image before loses its name. */
  function build(): void {
    const now = Buffer.from(program)
    for (let i = 4096; i < now.length - 4; i += 128) now.writeUInt32LE((now.readUInt32LE(i) + moved) % 2 ** 32, i)
    program = now
    writeFileSync(join(work, 'program'), program, { mode: 0o755 })
    const { docker } = engines[name]
    docker('create', '--name', 'build', '--network', 'none', 'fossil', 'true')
    docker('cp', join(work, 'program'), 'build:/program')
    // this docker command and this Podman have no commit in common
    if (name === 'docker') docker('commit', 'build', 'app')
    else execFileSync('podman', ['commit', '--quiet', 'build', 'app'], { env: storage() })
    docker('rm', '-f', 'build')
  }
  /** An engine whose disk is another machine's. */
  const elsewhere = (more: object = {}): Spoil => (asked, answered, response) => {
    if (asked !== 'GET /images/ID/json') return 'pass'
    const chunks: Buffer[] = []
    answered.on('data', (chunk: Buffer) => chunks.push(chunk))
    answered.on('end', () => response.end(JSON.stringify({ ...JSON.parse(Buffer.concat(chunks).toString()), GraphDriver: null, ...more }))) // prettier-ignore
    return undefined
  } // prettier-ignore

  beforeAll(async () => {
    program = readFileSync(join(baseTrees().rootfsBusybox, 'bin/busybox'))
    build()
    await push(engines[name].socket, ...state())
    build()
  })

  test('costs the difference by somebody who knows nothing, from an engine that shares no disk', async () => {
    using door = await openDoor(engines[name].socket, { spoil: elsewhere() })
    expect(await deltaOf(door.socket, ...state(`one-${name}`))).toBeLessThan(program.length / 500)
    expect(lists(door.asked)).toBe(1)
    expect(savedOthers(door.asked)).toBe(1)
    // what was read of the old one is kept
    door.asked.length = 0
    expect(await deltaOf(door.socket, ...state(`one-${name}`))).toBeLessThan(program.length / 500)
    expect(lists(door.asked)).toBe(0)
  })

  test('costs more where to read the old image would take longer than to send what is new', async () => {
    using door = await openDoor(engines[name].socket, { spoil: elsewhere({ Size: 1e9 }) })
    expect(await deltaOf(door.socket, ...state(`more-${name}`))).toBeGreaterThan(program.length / 5)
    expect([lists(door.asked), savedOthers(door.asked)]).toEqual([1, 0])
    // bytes are all that counts
    expect(await deltaOf(door.socket, ...state(`more-${name}`), '--effort', 'max')).toBeLessThan(program.length / 500)
  })

  // Docker's own has no such name
  test.each(name === 'podman' ? [name] : [])('costs the difference out of the storage of %s itself', async () => {
    const ref = ['containers-storage:localhost/app', `${host.alias}:${name}-app`]
    const { report } = await varveData<Planned>(['plan', ...ref, ...state('two')], { env: storage() })
    expect(report.bytes.delta).toBeLessThan(program.length / 500)
  })

  test('costs the difference by who sent the old one, and the old image is not saved where its files can be read', async () => {
    await prune()
    using other = await openDoor(engines[name].socket, { spoil: elsewhere({ RepoTags: ['other:1'] }) })
    // its layers tell what is in it, whatever it is called
    expect(await deltaOf(other.socket, ...state())).toBeLessThan(program.length / 500)
    expect(savedOthers(other.asked)).toBe(1)
    await prune()
    using door = await openDoor(engines[name].socket)
    const pushed = await push(door.socket, ...state())
    expect(pushed.bytes.changed).toBe(program.length)
    expect(pushed.bytes.delta).toBeLessThan(program.length / 500)
    expect(savedOthers(door.asked)).toBe(0)
    expect(await deployed()).toBe(built())
  })

  test('costs more where the engine breaks off, or has the old image no more', async () => {
    build()
    await prune()
    const cut: Spoil = (asked, answered, response) => {
      if (asked !== 'GET /images/json') return 'pass'
      answered.destroy()
      response.destroy()
      return undefined
    }
    using door = await openDoor(engines[name].socket, { spoil: cut })
    const delta = await deltaOf(door.socket, ...state())
    expect(lists(door.asked)).toBe(1)
    expect(delta).toBeGreaterThan(program.length / 5)
    engines[name].docker('image', 'prune', '-f')
    await prune()
    const pushed = await push(engines[name].socket, ...state())
    expect(pushed.bytes.delta).toBe(delta)
    expect(await deployed()).toBe(built())
  })
})

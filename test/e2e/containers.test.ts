// Live containers and images of a real dockerd and Podman, pushed and then run on a host by runc and crun.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Planned } from '../../src/verbs/plan.ts'
import { startDockerd, startPodman, type Engine } from '../fixture/dockerd.ts'
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
  const conf = join(work, 'storage.conf')
  writeFileSync(conf, `[storage]\ndriver = "overlay"\ngraphroot = "${work}/root"\nrunroot = "${work}/run"\n`)
  const podman = await startPodman(join(work, 'podman'), { ...process.env, CONTAINERS_STORAGE_CONF: conf })
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

// The workflow that varve is for: a Fossil server of a real dockerd, shipped, used, rebuilt, shipped again and taken back, on each engine.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import type { RolledBack } from '../../src/verbs/rollback.ts'
import type { ContainerStatus, Status } from '../../src/verbs/status.ts'
import { startDockerd, type Engine } from '../fixture/dockerd.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { answer, gapOf } from '../fixture/server.ts'
import { baseTrees } from '../fixture/trees.ts'
import { varve, varveData } from '../fixture/varve.ts'

const trees = { old: baseTrees().rootfsFossil, new: baseTrees().rootfsFossilNext }
const PORT = 8080
const STOP = 2

let hosts: Record<1 | 2, Host>
let dockerd: Engine
let work: string

/** An image as a Dockerfile says it: BusyBox and the repository, and Fossil with its libraries on that. */
function buildImage(name: string, { tree, port }: { tree: string; port: number }): void {
  const directory = join(work, name)
  mkdirSync(directory)
  const tar = (file: string, ...words: string[]): unknown => execFileSync('tar', ['-C', tree, '-cf', join(directory, file), ...words]) // prettier-ignore
  tar('base.tar', '--exclude=./bin/fossil', '--exclude=./lib*', '.')
  tar('fossil.tar', 'bin/fossil', 'lib', 'lib64')
  const server = JSON.stringify(['fossil', 'server', '--port', String(port), '/museum/repo.fossil'])
  const lines = ['FROM scratch', 'ADD base.tar /', 'ADD fossil.tar /', 'USER fossil', `EXPOSE ${port}`, `CMD ${server}`]
  writeFileSync(join(directory, 'Dockerfile'), `${lines.join('\n')}\n`)
  dockerd.docker('build', '--quiet', '--tag', name, directory)
}

/** Fossil's own program on this side of the network, in a tree of its own. */
function elsewhere(script: string): string {
  const env = { HOME: '/tmp', USER: 'admin', PATH: `/bin:${process.env['PATH']}` }
  return execFileSync('chroot', [join(work, 'elsewhere'), 'sh', '-euc', script], { encoding: 'utf8', env })
}

function versionOf(tree: string): string {
  const said = execFileSync('chroot', [tree, 'fossil', 'version'], { encoding: 'utf8' })
  return /version (\S+ \[[0-9a-f]+\])/.exec(said)?.[1] ?? expect.fail(said)
}

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'varve-classic-'))
  dockerd = await startDockerd()
  const [first, second] = await Promise.all([
    startHost({ userland: 'engines', cgroup: 1 }),
    startHost({ userland: 'engines', cgroup: 2, become: 'root' }),
  ])
  hosts = { 1: first, 2: second }
  buildImage('old', { tree: trees.old, port: PORT })
  buildImage('new', { tree: trees.new, port: PORT })
  buildImage('broken', { tree: trees.new, port: PORT + 1 })
  for (const name of ['old', 'new']) dockerd.docker('run', '--detach', '--name', name, '--network', 'none', name)
  dockerd.docker('exec', 'old', 'fossil', 'user', 'password', 'admin', 'secret', '-R', '/museum/repo.fossil')
  cpSync(trees.old, join(work, 'elsewhere'), { recursive: true, verbatimSymlinks: true })
})
afterAll(async () => {
  for (const host of Object.values(hosts)) await host.stop()
  await dockerd[Symbol.asyncDispose]()
  rmSync(work, { recursive: true })
})

describe.each([
  { engine: 'runc', cgroup: 1 },
  { engine: 'crun', cgroup: 1 },
  { engine: 'podman', cgroup: 1 },
  // which wants version 2, as the others on a machine like this one want version 1
  { engine: 'nspawn', cgroup: 2 },
] as const)('a Fossil server on $engine', ({ engine, cgroup }) => {
  let host: Host
  let common: string[]
  beforeAll(() => {
    host = hosts[cgroup]
    common = ['-F', host.sshConfig, '--state-dir', join(work, 'state')]
  })
  const name = `fossil-${engine}`
  const target = (): string => `${host.alias}:${name}`
  const env = (): NodeJS.ProcessEnv => ({ DOCKER_HOST: `unix://${dockerd.socket}` })
  const well = ['--restart', '--health-tcp', String(PORT)]
  const push = (source: string, ...more: string[]): string[] => ['push', source, target(), ...well, '--effort', 'fast', ...more, ...common] // prettier-ignore
  const pushed = (source: string, ...more: string[]): Promise<Report> => varveData<Report>(push(source, ...more), { env: env() }) // prettier-ignore
  const status = async (): Promise<ContainerStatus> =>
    (await varveData<Status>(['status', target(), ...common])).containers[0] ?? expect.fail()
  const runs = async (tree: string): Promise<void> => {
    expect(await answer(host, PORT, 'timeline')).toContain(`Fossil ${versionOf(tree)}`)
  }
  const committed = (file: string): Promise<string | undefined> => answer(host, PORT, `doc/trunk/${file}`)
  const server = (): string => `http://admin:secret@${host.address}:${PORT}/`
  // without a terminal Fossil keeps no password, so it is told at each exchange
  const commit = (file: string): string =>
    elsewhere(`cd /tmp/${name}; echo ${file} of ${engine} >${file}; fossil add ${file}
      fossil commit -m ${file} --no-warnings; fossil push ${server()}`)
  const told = (what: string, seconds: number, gap: number): void => console.log(`${engine}: ${what}: down for ${seconds} s by varve's clock, no answer for ${gap.toFixed(2)} s by HTTP`) // prettier-ignore

  test('is pushed, and answers at a port of the host', async () => {
    const { generation, started } = await pushed('container:old', '--engine', engine, '--persist', '/museum', '--stop-timeout', String(STOP)) // prettier-ignore
    expect({ generation, started }).toMatchObject({ generation: 1, started: { engine, generation: 1, previous: 0 } })
    await runs(trees.old)
    expect((await host.exec(`stat -c '%u:%g %a' /var/lib/varve/c/${name}/data/museum`)).stdout.toString()).toBe('499:499 750\n') // prettier-ignore
  })

  test('takes a commit over HTTP, by the password that was set in Docker', async () => {
    elsewhere(`cd /tmp; fossil clone -A admin ${server()} ${name}.fossil
      busybox mkdir ${name}; cd ${name}; fossil open --nosync ../${name}.fossil; fossil settings autosync off`)
    commit('first')
    expect(await committed('first')).toBe(`first of ${engine}\n`)
  })

  test('is rebuilt with another version of Fossil, and has its repository; what it wrote besides is told', async () => {
    const pid = (await status()).service.runs?.pid
    await host.exec(`nsenter --target ${pid} --mount --root --wd sh -c 'echo note >/etc/note'`)
    const [{ generation, started }, gap] = await gapOf(host, PORT, () => pushed('container:new'))
    expect(generation).toBe(2)
    expect(started?.wrote).toEqual({ files: 1, bytes: 5, removed: 0, names: ['etc/note'] })
    told('redeploy', started?.downSeconds ?? NaN, gap)
    await runs(trees.new)
    expect(await committed('first')).toBe(`first of ${engine}\n`)
    commit('second')
    expect(await committed('second')).toBe(`second of ${engine}\n`)
  })

  test('goes back by itself where what comes is not well', async () => {
    const patience = 1
    const [{ status: code, stderr }, gap] = await gapOf(host, PORT, () =>
      varve(push('docker-daemon:broken', '--health-timeout', String(patience)), { env: env() }),
    )
    expect(stderr).toContain(`generation 2 runs again [E_HEALTH]\n`)
    expect(code).toBe(7)
    console.log(`${engine}: not well within ${patience} s: no answer for ${gap.toFixed(2)} s by HTTP, stop timeout ${STOP} s`) // prettier-ignore
    await runs(trees.new)
    expect(await committed('second')).toBe(`second of ${engine}\n`)
    expect(await status()).toMatchObject({ current: 2, running: [2], drift: [] })
  })

  test('is taken back to the version before, and has its repository', async () => {
    const began = performance.now()
    const [{ started }, gap] = await gapOf(host, PORT, () =>
      varveData<RolledBack>(['rollback', target(), ...well, ...common]),
    )
    told(`rollback in ${((performance.now() - began) / 1000).toFixed(2)} s`, started?.downSeconds ?? NaN, gap)
    await runs(trees.old)
    for (const file of ['first', 'second']) expect(await committed(file)).toBe(`${file} of ${engine}\n`)
  })

  test('is stopped, and removed with its repository', async () => {
    await varveData(['stop', target(), ...common])
    expect(await answer(host, PORT)).toBeUndefined()
    await varveData(['rm', target(), '--data', ...common])
    expect((await host.exec(`ls /var/lib/varve/c`)).stdout.toString()).toBe('')
  })
})

// A sender that knows nothing of what a host holds, such as a fresh CI runner: it costs far less than rsync, and what a
// host says wrongly costs bytes only.
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed, listingOn, unshared } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { startProxy } from '../fixture/proxy.ts'
import { listingOf } from '../fixture/rootfs.ts'
import { baseTrees } from '../fixture/trees.ts'
import { varveData } from '../fixture/varve.ts'

const wire = ({ bytes }: Report): number => bytes.sent + bytes.received

let host: Host
let work: string
let rootfs: string
let states = 0
const at = (...path: string[]): string => join(work, ...path)
const change = (command: string): void => void execFileSync('sh', ['-euc', command], { cwd: rootfs })

/** Pushes from a state directory that nothing was pushed from before. */
async function push(container: string, { from = rootfs, state = `state-${++states}` } = {}): Promise<Report> {
  const words = ['push', `rootfs:${from}`, `${host.alias}:${container}`, '-F', host.sshConfig, '--effort', 'fast']
  return varveData(words.concat('--state-dir', at(state), '--allow-loss', 'xattrs,mtimes'))
}

async function start(options: Parameters<typeof startHost>[0], base: string): Promise<void> {
  host = await startHost(options)
  work = mkdtempSync(join(tmpdir(), 'varve-unknown-'))
  rootfs = at('rootfs')
  execFileSync('cp', ['-a', base, rootfs])
}
async function stop(): Promise<void> {
  await host.stop()
  rmSync(work, { recursive: true, force: true })
}

/** What rsync says over SSH, both ways, to make the host's `to` what the source is. */
async function rsync(to: string, ...flags: string[]): Promise<number> {
  await using proxy = await startProxy({ to: { host: host.address, port: host.port } })
  const config = at('rsync_config')
  const settings = readFileSync(host.sshConfig, 'utf8').replace(/HostName .*/, 'HostName 127.0.0.1').replace(/Port .*/, '') // prettier-ignore
  writeFileSync(config, `${settings}\n  Port ${proxy.port}\n  HostKeyAlias ${host.address}\n  LogLevel ERROR\n`)
  const words = ['-aHAX', '--numeric-ids', '--delete', '-z', '--zc=zstd', '--zl=19', ...flags]
  await promisify(execFile)('rsync', [...words, '-e', `ssh -F ${config}`, `${rootfs}/`, `${host.alias}:${to}/`])
  return proxy.sent + proxy.received
}

/** The host has no rsync of its own: it gets this machine's, with its libraries. */
async function installRsync(): Promise<void> {
  const pack = "tar -chf - $(command -v rsync) $(ldd $(command -v rsync) | grep -o '/[^ ]*') 2>/dev/null"
  await host.exec('tar -xf - -C / --skip-old-files', execFileSync('sh', ['-c', pack], { maxBuffer: 1 << 28 }))
}

describe.each(['debian', 'busybox'] as const)('push() of a Debian tree from elsewhere to a host with the tools of %s', (userland) => {
  beforeAll(async () => {
    await start({ userland, become: 'root' }, baseTrees().rootfsDebian)
    // whole seconds, for BusyBox
    change('find . -exec touch -h -d @1700000000 {} +')
    if (userland === 'debian') await installRsync()
    await push('app')
    if (userland === 'debian') await host.exec('mkdir /srv/rsync; cp -a /var/lib/varve/tree/*/root /srv/rsync/a; cp -a /srv/rsync/a /srv/rsync/b') // prettier-ignore
  })
  afterAll(stop)
  // BusyBox's tar has no words for a comparison of its bytes; contents are what the tree's id says
  const expectExact = async (): Promise<void> =>
    userland === 'debian'
      ? expectDeployed(host, '/var/lib/machines/app/rootfs', rootfs)
      : expect(await listingOn(host, '/var/lib/machines/app/rootfs')).toBe(unshared(await listingOf(rootfs)))

  test('that the host has asks for nothing', async () => {
    const report = await push('app')
    expect(report).toMatchObject({ generation: 1, roundTrips: 2 })
    expect(wire(report)).toBeLessThan(8000)
  })

  test('with one file changed and one gone costs a tenth of rsync', async () => {
    change('head -c 75 /dev/urandom | base64 -w0 >etc/one; rm etc/issue; touch -d @1700000001 etc/one etc')
    const report = await push('app')
    expect(wire(report)).toBeLessThan(21_500)
    if (userland === 'debian') expect(wire(report)).toBeLessThan((await rsync('/srv/rsync/a')) / 10)
    await expectExact()
  })

  test('with every time changed costs less than rsync, which compares all contents', async () => {
    change('find . -exec touch -h -d @1700000002 {} +')
    const report = await push('app')
    expect(report.bytes.changed).toBe(0)
    expect(wire(report)).toBeLessThan({ debian: 110_000, busybox: 320_000 }[userland])
    if (userland === 'debian') expect(wire(report)).toBeLessThan((await rsync('/srv/rsync/b', '--checksum')) / 2)
    await expectExact()
  })
}) // prettier-ignore

describe('push() from elsewhere to a host with many trees', () => {
  /** So many small files, of contents that no other name has. */
  const fill = (name: string, count: number): void => {
    mkdirSync(at(name, 'many'), { recursive: true })
    for (let i = 0; i < count; i++) writeFileSync(at(name, 'many', `${name}-${i}`), `${name} ${i}`)
  }
  beforeAll(async () => {
    await start({ become: 'root' }, baseTrees().rootfsBusybox)
    for (const name of ['one', 'two', 'three', 'four']) {
      fill(name, 1500)
      await push(name, { from: at(name), state: 'elsewhere' })
    }
    for (const round of ['1', '2', '3']) {
      change(`head -c 2000 /dev/urandom >etc/round-${round}`)
      await push('app', { state: 'elsewhere' })
    }
  })
  afterAll(stop)

  test('costs for its container, for all the others and for its older generations, little more than the change', async () => {
    change('head -c 2000 /dev/urandom >etc/now')
    const report = await push('app')
    expect(wire(report)).toBeLessThan(19_000)
    expect(report.bytes.changed).toBe(2000)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', rootfs)
  })

  test('finds for a new container what others have, and asks for no manifest that is worth less than it costs', async () => {
    cpSync(at('three'), at('new'), { recursive: true, preserveTimestamps: true })
    execFileSync('cp', ['-a', join(rootfs, 'bin'), at('new')])
    const report = await push('new', { from: at('new') })
    expect(report.bytes.changed).toBe(0)
    expect(wire(report)).toBeLessThan(30_000)
    await expectDeployed(host, '/var/lib/machines/new/rootfs', at('new'))
    // one small file of thousands: to know where it is would cost more than itself
    mkdirSync(at('other'))
    cpSync(at('two', 'many', 'two-7'), at('other', 'file'))
    writeFileSync(at('other', 'more'), 'more')
    expect(wire(await push('other', { from: at('other') }))).toBeLessThan(17_000)
  })
})

describe('push() from elsewhere to a host whose word is not what it has', () => {
  beforeAll(async () => {
    await start({ become: 'root' }, baseTrees().rootfsBusybox)
    mkdirSync(join(rootfs, 'many'))
    for (let i = 0; i < 2000; i++) writeFileSync(join(rootfs, 'many', `${i}`), `content ${i}`)
    await push('app')
  })
  afterAll(stop)

  test('takes the whole manifest where its lines are other ones', async () => {
    change('echo 1 >etc/round')
    const before = wire(await push('app'))
    await host.exec(`mkdir -p /usr/local/bin; cat >/usr/local/bin/awk; chmod 755 /usr/local/bin/awk`, Buffer.from(
      '#!/bin/sh\ncase "$*" in *ranges=*) /usr/bin/awk "$@" | tr 0 1 ;; *) exec /usr/bin/awk "$@" ;; esac\n',
    )) // prettier-ignore
    change('echo 2 >etc/round')
    const report = await push('app')
    expect(report.bytes.changed).toBe(2)
    expect(wire(report)).toBeGreaterThan(before + 50_000)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', rootfs)
    await host.exec('rm /usr/local/bin/awk')
  })

  /** The host's `cut` makes an outline's lines of hashes. */
  const edited = async (edit: string): Promise<void> =>
    void (await host.exec(
      'cat >/usr/local/bin/cut; chmod 755 /usr/local/bin/cut',
      Buffer.from(
        `#!/bin/sh\ncase "$*" in -c1-10) /usr/bin/cut "$@" | sed '${edit}' ;; *) exec /usr/bin/cut "$@" ;; esac\n`,
      ),
    ))

  test.each([
    ['are of nothing', 's/^./x/'],
    ['are all of the same lines', '1h;g'],
  ])('is exact where the hashes that it says %s', async (_, edit) => {
    await edited(edit)
    change('echo 3 >>etc/round')
    const report = await push('app')
    expect(report.bytes.changed).toBeLessThan(100)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', rootfs)
    await host.exec('rm /usr/local/bin/cut')
  })

  test('is refused where it says fewer hashes than there are', async () => {
    await edited('1d')
    change('echo 3 >>etc/round')
    await expect(push('app')).rejects.toThrow('E_PROTO')
    await host.exec('rm /usr/local/bin/cut')
  })

  test('sends all of it where the manifest is damaged there, and is exact', async () => {
    await host.exec(
      'for id in /var/lib/varve/tree/*; do sed -i "s/content/contenu/; s/ 0 0 / 0 1 /" "$id/manifest"; done',
    )
    change('echo 4 >etc/round')
    const report = await push('app')
    expect(report.bytes.changed).toBe(report.bytes.rootfs)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', rootfs)
  })
})

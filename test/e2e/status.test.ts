// status and verify of containers that share layers, against what du says on the host; what drifts is named.
import { appendFileSync, cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ContainerStatus, Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { varve, varveData } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const STORE = '/var/lib/varve'
let host: Host
let work: Work

const push = (source: string, name: string): Promise<unknown> =>
  varveData(['push', source, `${host.alias}:${name}`, ...work.common])
const status = (name?: string): Promise<Status> =>
  varveData<Status>(['status', name === undefined ? host.alias : `${host.alias}:${name}`, ...work.common])
const text = async (...words: string[]): Promise<string> => (await varve([...words, ...work.common])).stdout
const one = async (name: string): Promise<ContainerStatus> => {
  const [found] = (await status(name)).containers
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}
/** Each inode once, as du counts in one run. */
const du = async (...paths: string[]): Promise<number> => {
  const { stdout } = await host.exec(`cd ${STORE} && du -skcx ${paths.join(' ')} | tail -n 1 | cut -f1`)
  return Number(stdout.toString()) * 1024
}
const roots = (ids: readonly string[]): string[] => ids.map((id) => `tree/${id}/root`)

describe.each([{ userland: 'debian' }, { userland: 'busybox' }] as const)('on $userland', ({ userland }) => {
  const loss = userland === 'busybox' ? ['--allow-loss', 'mtimes'] : []
  beforeAll(async () => {
    host = await startHost({ userland })
    work = workFor(host)
    writeFileSync(join(work.rootfs, 'large'), Buffer.alloc(3_000_000, 'a'))
    for (const name of ['app', 'web']) {
      writeFileSync(join(work.rootfs, 'name'), name.repeat(50_000))
      await varveData([...work.push(name), ...loss])
    }
    writeFileSync(join(work.rootfs, 'name'), 'changed')
    appendFileSync(join(work.rootfs, 'large'), 'b')
    await varveData([...work.push('web'), ...loss])
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test('status() says of flat containers what du says of their trees', async () => {
    const { containers, disk } = await status()
    const [app, web] = containers as [ContainerStatus, ContainerStatus]
    const [both, ofApp, ofWeb] = [app, web].reduce<[string[], string[], string[]]>(
      ([all, first, second], { name, generations }) => {
        const ids = generations.flatMap(({ stack }) => stack)
        return [[...all, ...ids], name === 'app' ? ids : first, name === 'web' ? ids : second]
      },
      [[], [], []],
    )
    const current = web.layers.map(({ id }) => id)
    expect(await du(...roots(ofApp))).toBe(app.disk.size)
    expect(await du(...roots(current))).toBe(web.disk.size)
    expect(await du(...roots([...ofApp, ...current]))).toBe(disk.current)
    expect(await du(...roots(both))).toBe(disk.current + disk.older)
    expect(disk).toMatchObject({ unused: 0, flattened: app.disk.size + web.disk.size })
    // what goes with a container is what is left less without it
    expect(web.disk.alone - web.disk.writable).toBe((await du(...roots(both))) - (await du(...roots(ofApp))))
    expect(app.disk.alone - app.disk.writable).toBe((await du(...roots(both))) - (await du(...roots(ofWeb))))
    expect(app.sharedWith).toEqual([{ container: 'web', layers: 0, bytes: app.disk.shared }])
    expect(app.disk.shared).toBeGreaterThan(3_000_000)
    expect(web.disk.older).toBeGreaterThan(0)
    expect(disk.saved).toBeGreaterThan(0)
    expect(app.drift).toEqual([])
  })

  test('status() counts all that du finds in the store', async () => {
    const { disk } = await status()
    const whole = await du('.')
    expect(disk.total).toBeGreaterThan(whole * 0.95)
    expect(disk.total).toBeLessThanOrEqual(whole)
  })

  test('status() counts what a container has written as its own', async () => {
    const before = await one('app')
    await host.exec(`head -c 2000000 /dev/zero >${STORE}/c/app/data/written; head -c 1000000 /dev/zero >/var/lib/machines/app/rootfs/written`) // prettier-ignore
    const after = await one('app')
    expect(after.disk.writable - before.disk.writable).toBeGreaterThan(2_990_000)
    expect(after.disk.alone - before.disk.alone).toBe(after.disk.writable - before.disk.writable)
    expect(after.disk.size).toBe(before.disk.size)
  })

  test('status() takes one round trip once it is root', async () => {
    expect(await text('status', host.alias)).toMatch(/^CONTAINER.*\napp .*\nweb .*\napp and web share \d.* MB\n/)
  })
})

describe('with images on one base', () => {
  const layout = (): string => join(work.state, '../layout')
  const umoci = (...words: string[]): void => void execFileSync('umoci', words, { stdio: ['ignore', 'ignore', 'inherit'] }) // prettier-ignore
  beforeAll(async () => {
    host = await startHost()
    work = workFor(host)
    umoci('init', '--layout', layout())
    umoci('new', '--image', `${layout()}:base`)
    umoci('insert', '--image', `${layout()}:base`, work.rootfs, '/')
    for (const name of ['app', 'web']) {
      const own = join(work.state, `../${name}`)
      mkdirSync(join(own, 'etc'), { recursive: true })
      writeFileSync(join(own, 'etc/name'), name.repeat(10_000))
      // the shell again: what it hides below is not in the flattened size
      cpSync(join(work.rootfs, 'bin/busybox'), join(own, 'busybox'))
      umoci('tag', '--image', `${layout()}:base`, name)
      umoci('insert', '--image', `${layout()}:${name}`, own, '/')
      umoci('insert', '--image', `${layout()}:${name}`, join(own, 'busybox'), '/bin/busybox')
      umoci('config', '--image', `${layout()}:${name}`, '--config.cmd', '/bin/sleep', '--config.cmd', '100')
      await push(`oci:${layout()}:${name}`, name)
    }
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test('status() names the layers that containers share', async () => {
    const { containers, disk } = await status()
    const [app, web] = containers as [ContainerStatus, ContainerStatus]
    expect(app.layers.map(({ containers: in_ }) => in_)).toEqual([['app', 'web'], ['app'], ['app']])
    expect(app.sharedWith).toMatchObject([{ container: 'web', layers: 1 }])
    expect(disk.current).toBe(await du('tree/*/root'))
    const entries = await host.exec('find /var/lib/machines/web/rootfs/ | wc -l')
    expect(web.entries).toBe(Number(entries.stdout.toString()))
    const flat = await host.exec('mkdir /tmp/flat && cp -a /var/lib/machines/web/rootfs/. /tmp/flat && du -sk /tmp/flat | cut -f1') // prettier-ignore
    expect(Math.abs(web.disk.flattened - Number(flat.stdout.toString()) * 1024)).toBeLessThan(8192)
    expect(disk.saved).toBe(disk.flattened - disk.current - (await du('c/app/bundle', 'c/web/bundle')))
  })

  test('status() of one container shows its generations, layers and what it shares', async () => {
    const shown = await text('status', `${host.alias}:app`)
    expect(shown).toMatch(/^shares .* MB \(1 layer\) with web$/m)
    expect(shown).toMatch(/^GENERATION +STATE +ROOTFS +LAYERS\n1 +current +overlay +[0-9a-f]{12} [0-9a-f]{12} [0-9a-f]{12}$/m) // prettier-ignore
    expect(shown).toMatch(/^LAYER +ENTRIES +SIZE +ALSO IN\n[0-9a-f]{12} +\d+ +\d.* MB +web\n/m)
    expect(shown).not.toMatch(/^web/m)
  })

  test('verify() says in one line that a generation is good', async () => {
    expect(await text('verify', host.alias)).toBe('app generation 1 (current): good (3 layers)\nweb generation 1 (current): good (3 layers)\n') // prettier-ignore
  })

  test('status() names what is not mounted or linked, and a push mends it', async () => {
    await host.exec('umount /var/lib/machines/app/rootfs; rm /var/lib/machines/web')
    const { containers } = await status()
    expect(containers.map(({ drift }) => drift)).toEqual([
      [{ kind: 'mount', message: 'generation 1 is not mounted' }],
      [{ kind: 'link', message: '/var/lib/machines/web does not lead to generation 1' }],
    ])
    expect(await text('status', host.alias)).toContain(`drift: app: generation 1 is not mounted\n`)
    for (const name of ['app', 'web']) await push(`oci:${layout()}:${name}`, name)
    expect((await status()).containers.flatMap(({ drift }) => drift)).toEqual([])
  })

  test('status() names the generation that still runs after a push', async () => {
    await host.exec('cd /var/lib/machines/app && runc run -d app </dev/null >/dev/null 2>&1')
    expect(await one('app')).toMatchObject({ running: [1], drift: [] })
    umoci('config', '--image', `${layout()}:app`, '--config.env', 'NEW=yes')
    await push(`oci:${layout()}:app`, 'app')
    expect(await one('app')).toMatchObject({
      running: [1],
      drift: [{ kind: 'running', message: 'generation 1 still runs' }],
    })
    expect(await text('status', host.alias)).toContain('to run the current generation: varve restart ')
    await host.exec('runc delete -f app')
    expect(await one('app')).toMatchObject({ running: [], drift: [] })
  })

  test('verify() names bad layers by id, and status() those that are gone', async () => {
    const [base] = (await one('app')).layers
    const id = base?.id ?? ''
    await host.exec(`echo bad >${STORE}/tree/${id}/root/bin/busybox`)
    const shown = await text('verify', `${host.alias}:web`)
    expect(shown).toContain(`web generation 1 (current): 1 of 3 layers not good\n  layer ${id.slice(0, 12)}: bad\n    changed bin/busybox\n`) // prettier-ignore
    expect(await text('verify', host.alias, '--repair')).toMatch(
      /^app generation 1: 1 of 3 layers not good\n  layer \w{12}: bad, set aside\n    changed bin\/busybox\n  to heal it: push the source again\napp generation 2 \(current\): 1 of 3 layers not good\n  layer \w{12}: bad, set aside \(as above\)\n/,
    )
    const web = await one('web')
    expect(web.drift).toContainEqual({ kind: 'layer', message: `layer ${id.slice(0, 12)} is not on the host` })
    expect(web.layers[0]).toMatchObject({ id, entries: null, diskBytes: null })
    expect((await status()).disk.unused).toBeGreaterThan(0)
    await push(`oci:${layout()}:web`, 'web')
    expect((await one('web')).drift).toEqual([])
  })
})

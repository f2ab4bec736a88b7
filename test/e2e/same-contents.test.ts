// New contents that a tree has several times, under other metadata each, travel once: to an empty host, over a base, and after old ones.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { linkSync, mkdirSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Planned } from '../../src/verbs/plan.ts'
import type { Report } from '../../src/verbs/report.ts'
import { listingOn, unshared } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { listingOf } from '../fixture/rootfs.ts'
import { varve, varveData } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const SIZE = 1 << 20
const MANY = 20
/** What a copy costs at most, beside its contents. */
const WORDS = 200

/** Bytes that no tool makes smaller, the same for the same name. */
function noise(name: string, size = SIZE): Buffer {
  const pieces = Array.from({ length: size / 32 }, (_, i) => createHash('sha256').update(`${name} ${i}`).digest())
  return Buffer.concat(pieces)
}

/** Every one with another mode, owner and time. */
function put(root: string, path: string, contents: Buffer, number: number): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), contents)
  execFileSync('chown', [`${number}:7`, join(root, path)])
  execFileSync('chmod', [(0o4600 + number).toString(8), join(root, path)])
  utimesSync(join(root, path), 1, 1_500_000_000 + number)
}

describe.each([
  ['all tools', {}],
  ['neither zstd nor perl nor python3', { strip: ['zstd', 'perl', 'python3'] }],
  ['BusyBox', { userland: 'busybox' }],
] as const)('push() of equal contents to a host with %s', (_, options) => {
  let host: Host
  let work: Work
  const loss = ['--allow-loss', 'xattrs,mtimes']
  /** BusyBox restores whole seconds. */
  const wholeSeconds = (...which: string[]): void =>
    void execFileSync('find', [work.rootfs, ...which, '-exec', 'touch', '-h', '-d', '@1500000000', '{}', '+'])
  const push = (): Promise<Report> => {
    wholeSeconds('-type', 'd')
    return varveData<Report>(work.push('app', ...loss))
  }
  const planned = async (): Promise<Report> => {
    wholeSeconds('-type', 'd')
    const [, ...words] = work.push('app', ...loss)
    return (await varveData<{ report: Planned['report'] }>(['plan', ...words])).report
  }
  beforeAll(async () => {
    host = await startHost(options)
    work = workFor(host)
    wholeSeconds()
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })
  const expectExact = async (): Promise<void> => {
    const root = '/var/lib/machines/app/rootfs'
    expect(await listingOn(host, root)).toBe(unshared(await listingOf(work.rootfs)))
    const sum = 'find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum'
    const here = execFileSync('sh', ['-c', `cd "$0" && ${sum}`, work.rootfs]).toString()
    expect((await host.exec(`cd ${root} && ${sum}`)).stdout.toString()).toBe(here)
  }

  test('that is empty costs them once', async () => {
    const before = await planned()
    for (let i = 0; i < MANY; i++) put(work.rootfs, `first/d${i}/f\n${i}`, noise('one'), i)
    linkSync(join(work.rootfs, 'first/d1/f\n1'), join(work.rootfs, 'first/linked'))
    const { bytes } = await push()
    expect(bytes.changed).toBe(before.bytes.changed + SIZE)
    expect(bytes.delta).toBeLessThan(before.bytes.delta + SIZE + MANY * WORDS)
    await expectExact()
  })

  test('that has another tree costs them once, as plan says', async () => {
    for (let i = 0; i < MANY; i++) put(work.rootfs, `second/d${i}/f`, noise('two'), i)
    const { delta } = (await planned()).bytes
    const { bytes } = await push()
    expect(bytes).toMatchObject({ changed: SIZE, delta })
    expect(bytes.delta).toBeLessThan(SIZE + MANY * WORDS)
    await expectExact()
  })

  test('that has them costs none, whatever name they get', async () => {
    for (let i = 0; i < MANY; i++) put(work.rootfs, `copies/${i}`, noise('two'), i + MANY)
    const { bytes } = await push()
    expect(bytes.changed).toBe(0)
    expect(bytes.delta).toBeLessThan(MANY * WORDS)
    await expectExact()
  })

  test('that has older ones under one of the names costs the difference once', async () => {
    const [program, text] = [noise('two'), Buffer.from(noise('text', 48_000).toString('hex'))]
    put(work.rootfs, 'third/text', text, 3)
    await push()
    program.fill('x', 500_000, 500_900)
    for (let i = 0; i < MANY; i++) put(work.rootfs, `second/a${i}`, program, i)
    for (let i = 0; i < 3; i++) put(work.rootfs, `second/d${i}/f`, program, i)
    for (const name of ['third/a', 'third/b', 'third/text']) put(work.rootfs, name, Buffer.concat([Buffer.from('new'), text]), name.length) // prettier-ignore
    linkSync(join(work.rootfs, 'second/a3'), join(work.rootfs, 'second/linked'))
    linkSync(join(work.rootfs, 'third/b'), join(work.rootfs, 'third/linked'))
    const { bytes } = await push()
    expect(bytes.changed).toBeLessThan(SIZE + 100_000)
    expect(bytes.delta).toBeLessThan(20_000)
    await expectExact()
  })

  /** Files of few bytes and of many, some linked; all that stands in `kept` stays as it is. */
  const touched = (seconds: number): void => {
    for (const name of ['many', 'large', 'gone'])
      execFileSync('find', [join(work.rootfs, name), '-type', 'f', '-exec', 'touch', '-d', `@${seconds}`, '{}', '+'])
  }
  const pushed = async (): Promise<string> => {
    wholeSeconds('-type', 'd')
    const { status, stderr } = await varve(work.push('app', ...loss))
    expect([status, stderr]).toEqual([0, expect.any(String)])
    await expectExact()
    return stderr
  }

  test('of which all get another time, and some another place, costs words', async () => {
    for (const name of ['many', 'large', 'gone', 'kept/deep']) mkdirSync(join(work.rootfs, name), { recursive: true })
    for (let i = 0; i < 1200; i++) writeFileSync(join(work.rootfs, `many/ñ\n${i}`), `contents ${i}`)
    for (let i = 0; i < 9; i++) writeFileSync(join(work.rootfs, `gone/${i}`), noise(`gone ${i}`, 2048))
    for (let i = 0; i < 3; i++) writeFileSync(join(work.rootfs, `large/${i}`), noise(`large ${i}`, 300_032))
    for (let i = 0; i < 9; i++) writeFileSync(join(work.rootfs, `kept/deep/${i}`), `kept ${i}`)
    writeFileSync(join(work.rootfs, 'many/empty'), '')
    for (const name of ['many/ñ\n7', 'large/1']) linkSync(join(work.rootfs, name), join(work.rootfs, `${name} linked`))
    execFileSync('chmod', ['3777', join(work.rootfs, 'kept'), join(work.rootfs, 'many')])
    wholeSeconds()
    await pushed()
    touched(1_600_000_000)
    renameSync(join(work.rootfs, 'gone'), join(work.rootfs, 'large/come'))
    expect((await planned()).bytes.changed).toBe(0)
    expect(await pushed()).not.toContain('W_HEAL')
  })

  test('of which one has another length there is mended', async () => {
    await host.exec(`for tree in /var/lib/varve/tree/*/root/many; do printf short >"$tree/empty"; done`)
    mkdirSync(join(work.rootfs, 'gone'))
    touched(1_650_000_000)
    expect(await pushed()).toContain('W_HEAL')
  })
})

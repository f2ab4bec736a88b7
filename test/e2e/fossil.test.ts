// pack and apply: a delta as a file, applied on the host by itself with nothing but sh, or over SSH; a wrong base is refused.
import { execFileSync } from 'node:child_process'
import { appendFileSync, copyFileSync, cpSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Applied } from '../../src/verbs/apply.ts'
import type { Packed } from '../../src/verbs/pack.ts'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const RUNC = execFileSync('sh', ['-c', 'readlink -f "$(command -v runc)"'], { encoding: 'utf8' }).trim()

describe.each([
  ['GNU tools', {}],
  ['no zstd, perl or python3', { strip: ['zstd', 'perl', 'python3'] }],
  ['BusyBox', { userland: 'busybox' }],
] as const)('a fossil for a host with %s', (_, options) => {
  let host: Host
  let work: Work
  let file: string
  const pack = (...more: string[]): Promise<Packed> =>
    varveData<Packed>(['pack', `rootfs:${work.rootfs}`, '-o', file, ...more, ...work.common])
  const sh = async (...words: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> => {
    await host.exec('cat >/tmp/app.varve', readFileSync(file))
    const ran = await host.exec(`cd /tmp && sh app.varve ${words.join(' ')}; status=$?; rm app.varve; exit $status`)
    return { status: ran.status, stdout: ran.stdout.toString(), stderr: ran.stderr }
  }
  const deployed = async (): Promise<void> => {
    if (_ !== 'BusyBox') await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
    const verified = await varveData<{ containers: { current: boolean; state: string }[] }>([
      'verify',
      `${host.alias}:app`,
      ...work.common,
    ])
    expect(verified.containers.find(({ current }) => current)?.state).toBe('good')
  }
  const change = (round: number): void => {
    const program = readFileSync(RUNC).subarray(0, 2 << 20)
    writeFileSync(join(work.rootfs, 'program'), Buffer.concat([program, Buffer.from(`${round}`)]))
    execFileSync('sh', ['-c', `find "$0" -exec touch -h -d @${1_500_000_000 + round} {} +`, work.rootfs])
  }

  beforeAll(async () => {
    host = await startHost({ become: 'root', ...options })
    work = workFor(host)
    file = join(work.state, '../app.varve')
    change(0)
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test('against nothing makes the first generation there, once', async () => {
    const packed = await pack('--for', `${host.alias}:app`)
    expect(packed).toMatchObject({ container: 'app', needs: [], bytes: statSync(file).size })
    expect(await sh()).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('app is at generation 1\n') })
    await deployed()
    expect(await sh()).toMatchObject({ status: 0, stdout: expect.stringContaining('app is up to date: generation 1\n') })
    expect(await varveData<Report>(work.push('app'))).toMatchObject({ generation: 1, previous: 1 })
  }) // prettier-ignore

  test('against what is there is small, and makes the next', async () => {
    rmSync(file)
    change(1)
    const packed = await pack('--for', `${host.alias}:app`)
    expect(packed.needs).toHaveLength(1)
    expect(await sh('app')).toMatchObject({ status: 0, stdout: expect.stringContaining('app is at generation 2\n') })
    expect((await host.exec('cd /var/lib/varve; find stage in tx trash -mindepth 1')).stdout.toString()).toBe('')
    await deployed()
  })

  test('goes over SSH as well, and is up to date then', async () => {
    rmSync(file)
    change(2)
    await pack('--for', `${host.alias}:app`)
    const apply = (): Promise<Applied> => varveData<Applied>(['apply', file, `${host.alias}:app`, ...work.common])
    expect(await apply()).toMatchObject({ generation: 3, previous: 2 })
    await deployed()
    expect(await apply()).toMatchObject({ generation: 3, previous: 3 })
  })

  test('is refused where its base is not, by name', async () => {
    await host.exec('mv /var/lib/varve /var/lib/kept; rm /var/lib/machines/app; umount /var/lib/varve/c/app/bundle/*/rootfs')
    rmSync(file)
    change(3)
    cpSync(work.rootfs, join(work.state, '../old'), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
    change(4)
    await pack('--base', `rootfs:${join(work.state, '../old')}`)
    expect(await sh()).toMatchObject({ status: 4, stderr: expect.stringMatching(/made against rootfs:.*lacks the tree [0-9a-f]{64}\n$/) })
    expect(await varveError(['apply', file, `${host.alias}:app`, ...work.common])).toMatchObject({ code: 'E_BASE_MISSING', status: 4 })
    rmSync(join(work.state, '../old'), { recursive: true })
  }) // prettier-ignore

  test.each([
    ['cut', (name: string) => execFileSync('truncate', ['-s', '-1', name])],
    ['longer', (name: string) => appendFileSync(name, 'x')],
  ])('that was %s is refused', async (__, damage) => {
    const sound = `${file}.sound`
    copyFileSync(file, sound)
    damage(file)
    expect((await sh()).status).toBeGreaterThanOrEqual(3)
    expect(await varveError(['apply', file, `${host.alias}:app`, ...work.common])).toMatchObject({ code: 'E_HASH', status: 3 })
    copyFileSync(sound, file)
  }) // prettier-ignore

  test('that has a flipped byte in its delta is refused', async () => {
    const bytes = readFileSync(file)
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 9) ^ 1, bytes.length - 9)
    rmSync(file)
    change(5)
    await pack()
    const whole = readFileSync(file)
    whole.writeUInt8(whole.readUInt8(whole.length - 99) ^ 1, whole.length - 99)
    writeFileSync(file, whole)
    expect(await sh()).toMatchObject({ status: 3, stderr: expect.stringContaining('SHA-256') })
    expect(await varveError(['apply', file, `${host.alias}:app`, ...work.common])).toMatchObject({ code: 'E_HASH', status: 3 })
  }) // prettier-ignore
})

test('pack takes a base or a host, and what is no fossil is said to be none', async () => {
  expect(await varveError(['pack', 'rootfs:/', '-o', '/tmp/x', '--for', 'local:a', '--base', 'rootfs:/'])).toMatchObject({ code: 'E_USAGE', status: 2 })
  expect(await varveError(['pack', 'rootfs:/', '-o', '/tmp/Not A Name'])).toMatchObject({ code: 'E_NAME', status: 2 })
  expect(await varveError(['apply', '/etc/passwd', 'local:app'])).toMatchObject({ code: 'E_SOURCE', status: 3 })
  expect(await varveError(['apply', '/no/such', 'local:app'])).toMatchObject({ code: 'E_SOURCE_UNREADABLE', status: 3 })
}) // prettier-ignore

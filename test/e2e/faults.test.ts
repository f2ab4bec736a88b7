// Pushes that are broken off from outside, or that find no room: the exit status says it, the host is sound, the next push works.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startHost, type Host } from '../fixture/host.ts'
import { linkTo } from '../fixture/link.ts'
import { startVarve, varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'
import type { Applied } from '../../src/verbs/apply.ts'
import type { Report } from '../../src/verbs/report.ts'

const MIB = 1 << 20
/** So much may be under way: https://www.rfc-editor.org/rfc/rfc4254#section-5.2, as sshd sets it. */
const WINDOW = 2 * MIB
let host: Host
let work: Work

const sh = async (command: string): Promise<string> => {
  const ran = await host.exec(command)
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr}`)
  return ran.stdout.toString()
}
/** What no codec makes smaller, so that it takes as long to send. */
const change = (bytes = 2 * MIB): void => writeFileSync(join(work.rootfs, 'big'), randomBytes(bytes))
const push = (): Promise<Report> => varveData<Report>(work.push('app'))
const through = (link: { sshConfig: string }): string[] => [...work.push('app'), '-F', link.sshConfig, '--retries', '0']
const current = async (): Promise<number> => Number((await sh('readlink /var/lib/varve/c/app/current')).slice(4))
const leftovers = (): Promise<string> => sh('cd /var/lib/varve; find stage in tx trash -mindepth 1')

const RUNTIMES = `grep -lz '^varve$' /proc/[0-9]*/cmdline 2>/dev/null`

/** No process of varve is left on the host, and the lock is free. */
async function untilQuiet(): Promise<void> {
  const busy = `${RUNTIMES} || ! flock -n /var/lib/varve/lock true`
  await sh(`for try in $(seq 100); do { ${busy}; } >/dev/null || exit 0; sleep 0.1; done; exit 1`)
}
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; !(await holds()); waited++) {
    if (waited === 400) throw new Error('it never came to that')
    await sleep(25)
  }
}
/** The generation that was current is so still, unless the new one was complete; the next push makes it so. */
async function expectSound(before: number): Promise<void> {
  await untilQuiet()
  const after = await current()
  expect([before, before + 1]).toContain(after)
  expect((await varve(['verify', `${host.alias}:app`, ...work.common])).status).toBe(0)
  expect(await push()).toMatchObject({ previous: after })
  expect(await leftovers()).toBe('')
  expect(await sh(`sha256sum </var/lib/machines/app/rootfs/big`)).toBe(`${sha256OfBig()}  -\n`)
}
const sha256OfBig = (): string =>
  createHash('sha256')
    .update(readFileSync(join(work.rootfs, 'big')))
    .digest('hex')

beforeAll(async () => {
  host = await startHost({ store: 'ext4:400M' })
  work = workFor(host)
  change()
  await push()
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})
describe('a link that', () => {
  let whole: number
  beforeAll(async () => {
    await using link = await linkTo(host, {})
    change()
    await varveData(through(link))
    whole = link.proxy.sent
  })

  test.each([
    ['during the login', () => 1500],
    ['before the delta', () => 8000],
    ['within the delta', () => whole / 2],
    ['at the end of the delta', () => whole - 4000],
    ['before the switch', () => whole - 1000],
  ])('is cut %s ends the push with status 5', async (_when, at) => {
    const before = await current()
    change()
    await using link = await linkTo(host, { cutAfterBytes: Math.floor(at()) })
    const error = await varveError(through(link))
    expect(error.status).toBe(5)
    expect(error.message).toMatch(/connect/)
    await expectSound(before)
  })

  test.each([
    ['is gone on with by the next push', 'true', true],
    [
      'is sent anew where what the host has of it is something else',
      'printf x | dd of="$part" bs=1 seek=1000 conv=notrunc',
      false,
    ],
    ['is sent anew where the host has nothing of it any more', 'rm -f "$part"', false],
  ])('is cut within a delta that %s', async (_what, meanwhile, resumed) => {
    await untilQuiet()
    change(8 * MIB)
    {
      await using link = await linkTo(host, { cutAfterBytes: 6 * MIB })
      expect(await varveError(through(link))).toMatchObject({ status: 5 })
    }
    await untilQuiet()
    await sh(`for part in ~deploy/.cache/varve/spool/*; do ${meanwhile} 2>/dev/null; done`)
    const report = await push()
    if (resumed) expect(report.bytes.sent).toBeLessThan(2 * MIB + WINDOW + 200_000)
    else expect(report.bytes.sent).toBeGreaterThan(8 * MIB)
    expect(await sh(`sha256sum </var/lib/machines/app/rootfs/big`)).toBe(`${sha256OfBig()}  -\n`)
    expect(await sh('ls -A ~deploy/.cache/varve/spool')).toBe('')
    change()
    await push()
  })

  test.each([
    ['push', (): Promise<string[]> => Promise.resolve(work.push('app'))],
    [
      'apply',
      async (): Promise<string[]> => {
        const file = join(work.rootfs, '../app.varve')
        await varveData(['pack', `rootfs:${work.rootfs}`, '-o', file, '--for', `${host.alias}:app`, ...work.common])
        return ['apply', file, `${host.alias}:app`, ...work.common]
      },
    ],
  ])('is cut within the delta is made again by %s itself, which goes on there', async (_verb, words) => {
    await untilQuiet()
    const before = await current()
    change(8 * MIB)
    const command = await words()
    await using link = await linkTo(host, { cutAfterBytes: 6 * MIB })
    const ran = await varve([...command, '-F', link.sshConfig, '--retries', '2', '--json'])
    expect(ran.stderr).toContain('[W_RETRY]')
    const { data } = JSON.parse(ran.stdout) as { data: Report | Applied }
    expect(data).toMatchObject({ previous: before, generation: before + 1 })
    expect(data.bytes.sent).toBeGreaterThan(8 * MIB)
    // it comes while the host may still write what the lost connection brought
    expect(link.proxy.sent).toBeLessThan(8 * MIB + WINDOW + 400_000)
    expect(await sh(`sha256sum </var/lib/machines/app/rootfs/big`)).toBe(`${sha256OfBig()}  -\n`)
    change()
    await push()
  })

  test('falls silent ends the push with status 5, as soon as ssh_config has it', async () => {
    const before = await current()
    change()
    {
      await using link = await linkTo(host, { stallAfterBytes: whole / 2 }, [
        'ServerAliveInterval 1',
        'ServerAliveCountMax 2',
      ])
      const start = performance.now()
      expect(await varveError(through(link))).toMatchObject({
        code: 'E_LOST',
        status: 5,
        hint: 'run the same command again',
      })
      expect(performance.now() - start).toBeLessThan(10_000)
      // the host does not know yet, and is in nobody's way
      expect(await sh(RUNTIMES)).not.toBe('')
      expect(await sh('flock -n /var/lib/varve/lock echo free')).toBe('free\n')
    }
    await expectSound(before)
  })
})

describe('a push', () => {
  const statuses = { SIGINT: 130, SIGTERM: 130, SIGKILL: null }
  type Signal = keyof typeof statuses

  async function end(child: ReturnType<typeof startVarve>, signal: Signal): Promise<void> {
    const closed = once(child, 'close')
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.kill(signal)
    expect((await closed)[0]).toBe(statuses[signal])
    expect(said.includes('varve: interrupted [E_INTERRUPTED]')).toBe(signal !== 'SIGKILL')
  }

  test.each<Signal>(['SIGINT', 'SIGTERM'])('that gets %s while it reads the source leaves what was', async (signal) => {
    const before = await current()
    const child = startVarve(work.push('app').map((word) => (word.startsWith('rootfs:') ? 'tar:-' : word)))
    child.stdin?.write(execFileSync('tar', ['-c', '-C', work.rootfs, 'big'], { maxBuffer: 4 * MIB }).subarray(0, MIB))
    await until(() => child.stdin?.writableLength === 0)
    await end(child, signal)
    expect(await current()).toBe(before)
    change()
    await expectSound(before)
  })

  test.each<Signal>(['SIGINT', 'SIGKILL'])('that gets %s while it sends leaves what was', async (signal) => {
    const before = await current()
    change()
    await using link = await linkTo(host, { bytesPerSecond: MIB })
    const child = startVarve(through(link))
    await until(() => link.proxy.sent > MIB / 2)
    await end(child, signal)
    await untilQuiet()
    expect(await current()).toBe(before)
    await expectSound(before)
  })

  test.each<Signal>(['SIGTERM', 'SIGKILL'])('that gets %s while the host applies leaves what was', async (signal) => {
    const before = await current()
    change()
    const hold = 'flock /var/lib/varve/lock sh -c "touch /run/held; until [ -e /run/go ]; do sleep 0.1; done"'
    const holder = host.exec(hold)
    await until(async () => (await host.exec('[ -e /run/held ]')).status === 0)
    const child = startVarve(work.push('app'))
    // the holder's own, and the runtime's that waits
    const waiting = 'grep -lz "^flock$" /proc/[0-9]*/cmdline | wc -l'
    await until(async () => (await host.exec(waiting)).stdout.toString() === '2\n')
    await end(child, signal)
    await sh('touch /run/go')
    await holder
    await sh('rm /run/go /run/held')
    await untilQuiet()
    expect(await current()).toBe(before)
    await expectSound(before)
  })
})

describe('a disk that is full', () => {
  const fill = '/var/lib/varve/runtime/fill'

  test('in the middle of a push is said so with status 4, and changes nothing', async () => {
    const before = await current()
    change()
    await using link = await linkTo(host, { bytesPerSecond: MIB })
    const failed = varveError(through(link))
    await until(() => link.proxy.sent > MIB / 2)
    await sh(`cat /dev/zero >${fill} 2>/dev/null || :`)
    expect(await failed).toMatchObject({
      code: 'E_NOSPACE',
      status: 4,
      message: expect.stringMatching(/^cannot [a-z ]+: no space left on \/var\/lib\/varve$/) as string,
      hint: 'varve gc HOST frees what no generation needs',
    })
    expect(await current()).toBe(before)
    expect(await leftovers()).toBe('')
    expect(await varveError(work.push('app'))).toMatchObject({ code: 'E_NOSPACE', status: 4 })
    await sh(`rm ${fill}`)
    await expectSound(before)
  })

  test('lets gc and rollback work', async () => {
    change()
    await push()
    const before = await current()
    await sh(`cat /dev/zero >${fill} 2>/dev/null || :`)
    expect(await varveData(['rollback', `${host.alias}:app`, ...work.common])).toMatchObject({ generation: before + 1 })
    await sh(`cat /dev/zero >>${fill} 2>/dev/null || :`)
    await varveData(['gc', host.alias, '--keep', '1', ...work.common])
    expect(await sh('ls /var/lib/varve/c/app/gen')).toBe(`${before + 1}\n`)
    await sh(`rm ${fill}`)
    await expectSound(before + 1)
  })

  test('at the home of the login user is said so with status 4', async () => {
    const before = await current()
    change()
    const cache = '/home/deploy/.cache'
    await sh(`mount -t tmpfs -o size=1m,uid=1000,mode=700 full ${cache}`)
    expect(await varveError(work.push('app'))).toMatchObject({
      code: 'E_NOSPACE',
      status: 4,
      hint: 'free space in the home directory of the login user on the host',
    })
    await sh(`umount ${cache}`)
    await expectSound(before)
  })
})

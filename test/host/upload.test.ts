// upload(): a delta that is cut again and again goes on each time where the host has it, over real connections.
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { upload } from '../../src/host/upload.ts'
import { home, open, useServers } from './sshd.ts'

useServers()

const SIZE = 50_000_000
const PERCENT = SIZE / 100
/** So much may be under way that the host has not taken: https://www.rfc-editor.org/rfc/rfc4254#section-5.2, as sshd sets it. */
const WINDOW = 2 << 20
const spool = join(home, '.cache/varve/spool')

/** What the host has of it, once the command of a lost connection has ended, which gives its file another name. */
async function arrived(): Promise<number> {
  for (let last = -1; ;) {
    const sizes = readdirSync(spool).map((name) => statSync(join(spool, name), { throwIfNoEntry: false })?.size)
    const size = sizes.reduce<number>((sum, bytes) => sum + (bytes ?? Number.NaN), 0)
    if (size === last) return size
    last = size
    await sleep(60)
  }
}

test('upload() of 50 MB that is cut at every percent sends again at most what was in flight', async () => {
  rmSync(spool, { recursive: true, force: true })
  mkdirSync(spool, { recursive: true, mode: 0o700 })
  const bytes = randomBytes(SIZE)
  let begun: readonly string[] = []
  for (let percent = 1; percent < 100; percent++) {
    const before = await arrived()
    const transport = await open()
    const from = transport.traffic().sent
    const cut = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < SIZE; at += 32_768) {
        if (before + transport.traffic().sent - from > percent * PERCENT) await transport[Symbol.asyncDispose]()
        yield bytes.subarray(at, at + 32_768)
      }
    }
    const name = `${percent}`.padStart(64, '0')
    await expect(upload(transport, cut(), { name, begun }), `cut at ${percent} %`).rejects.toMatchObject({ code: 'E_LOST' }) // prettier-ignore
    // a connection that was lost before its command ran left nothing under its name
    begun = [`never ${name}`.replace(' ', '-'), name]
    const sent = transport.traffic().sent - from
    expect(sent - ((await arrived()) - before), `sent again after ${percent} %`).toBeLessThanOrEqual(WINDOW)
  }
  const resumed = await arrived()
  expect(resumed).toBeGreaterThan(95 * PERCENT)
  await using transport = await open()
  const name = 'f'.repeat(64)
  const whole = async function* (): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  expect(await upload(transport, whole(), { name, begun })).toMatchObject({ size: SIZE, resumed, sha256 })
  expect(readFileSync(join(spool, name)).equals(bytes)).toBe(true)
}, 240_000)

test('upload() that is cut before it knows whether to go on loses nothing of what is there', async () => {
  rmSync(spool, { recursive: true, force: true })
  mkdirSync(spool, { recursive: true, mode: 0o700 })
  const bytes = randomBytes(8 << 20)
  const cutting = async (name: string, begun: readonly string[], after: number): Promise<void> => {
    const transport = await open()
    const cut = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, after)
      // it has been said what is there by now
      await sleep(500)
      await transport[Symbol.asyncDispose]()
      yield bytes.subarray(after)
    }
    await expect(upload(transport, cut(), { name, begun })).rejects.toMatchObject({ code: 'E_LOST' })
  }
  const [first, second, third] = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string]
  await cutting(first, [], 4 << 20)
  const there = await arrived()
  expect(there).toBe(4 << 20)
  await cutting(second, [first], 1 << 20)
  expect(await arrived()).toBe(there)
  await using transport = await open()
  const whole = async function* (): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  expect(await upload(transport, whole(), { name: third, begun: [second, first] })).toMatchObject({ resumed: there })
  expect(readFileSync(join(spool, third)).equals(bytes)).toBe(true)
})

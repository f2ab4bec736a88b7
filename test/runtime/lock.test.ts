// The directory lock of hosts without flock: one at a time, whatever the pace of those who want it.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Bench, runtimeText } from './runtime.ts'

let bench: Bench
beforeEach(async () => {
  bench = new Bench()
  const rootfs = join(bench.work, 'rootfs')
  mkdirSync(join(rootfs, 'etc'), { recursive: true })
  writeFileSync(join(rootfs, 'etc/a'), 'one')
  await bench.push(rootfs)
})
afterEach(() => bench.remove())

/** The runtime with a room that is there while converge has the lock; "overlap" is said by who finds it. */
const watched = runtimeText
  .replace('  if has flock; then', '  if false; then')
  .replace(
    /^ {2}take_lock 10\n {2}mkdir -p "\$store\/tx"$/m,
    '  take_lock 20; mkdir -p "$store/tx"; mkdir "$store/tx/inside" || printf "overlap\\n"; sleep 1.7; rmdir "$store/tx/inside"',
  )

test('three who are slow to say who they are do not work at the same time', async () => {
  const text = watched.replace(/^ *VARVE_LOCK=/m, '  sleep 2; VARVE_LOCK=')
  expect(text).not.toBe(watched)
  const shells = ['dash', 'bash', 'dash']
  const said = await Promise.all(shells.map((shell) => bench.ask(['converge app\n'], { shell: [shell], text })))
  expect(said).toEqual(['ok\n', 'ok\n', 'ok\n'])
})

// Lists longer than one batch of xargs: no word of one batch may need a word of another.
import { chmodSync, linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Bench } from './runtime.ts'

let bench: Bench
beforeEach(() => {
  bench = new Bench()
})
afterEach(() => bench.remove())

test.each([1, 2])('a file with hundreds of long names gets another mode (%i)', async (odd) => {
  const rootfs = join(bench.work, 'rootfs')
  const deep = join(rootfs, 'd'.repeat(200), 'e'.repeat(200), 'g'.repeat(200))
  mkdirSync(deep, { recursive: true })
  const first = join(rootfs, 'a'.repeat(odd))
  writeFileSync(first, 'linked')
  for (let i = 0; i < 300; i++) linkSync(first, join(deep, `${'f'.repeat(20 * odd)}${i}`))
  await bench.push(rootfs)
  chmodSync(first, 0o600)
  await bench.push(rootfs)
  expect((await bench.current()).number).toBe(2)
})

// What a container says is kept within its limit, without a gap, and read and followed over the change from one log to the next.
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startHost, type Host } from '../fixture/host.ts'
import { until } from '../fixture/server.ts'
import { startVarve, varve, varveData } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const LIMIT = 1 << 20
const LOG = '/var/lib/varve/c/chatty/log/1'
let host: Host
let work: Work
const sh = async (command: string): Promise<string> => (await host.exec(command)).stdout.toString()
const logs = (...more: string[]): string[] => ['logs', `${host.alias}:chatty`, ...work.common, ...more]
/** Numbered lines of 16 bytes. */
const says = (first: number, last: number): string =>
  `busybox awk 'BEGIN { for (i = ${first}; i <= ${last}; i++) printf "line %010d\\n", i }'`
const numbersIn = (text: string): number[] =>
  [...text.matchAll(/^line (\d{10})$/gm)].map(([, digits]) => Number(digits))
const run = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)

beforeAll(async () => {
  host = await startHost()
  work = workFor(host)
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})

test('a log that reaches its limit becomes .old, and what is kept has no gap', async () => {
  const script = `${says(1, 300_000)}; until [ -e /more ]; do sleep 0.1; done; ${says(300_001, 400_000)}; exec sleep 300`
  await varveData(work.push('chatty', '--cmd', 'sh', '--cmd=-c', '--cmd', script, '--restart', '--stop-timeout', '0'))
  await until(async () => (await sh(`tail -n 1 ${LOG}`)) === 'line 0000300000\n')
  const sizes = (await sh(`stat -c %s ${LOG} ${LOG}.old; ls ${LOG}* | wc -l`)).trim().split('\n').map(Number)
  expect(sizes).toEqual([expect.any(Number), expect.any(Number), 2])
  // the one before is full, and neither grows by more than what is read at once
  expect(sizes[1]).toBeGreaterThanOrEqual(LIMIT)
  for (const size of sizes) expect(size).toBeLessThanOrEqual(1.5 * LIMIT)
  const kept = numbersIn((await varve(logs('-n', '1000000'))).stdout)
  expect(kept.length * 16).toBeGreaterThan(LIMIT)
  expect(kept).toEqual(run(300_000 - kept.length + 1, 300_000))
  expect(numbersIn((await varve(logs())).stdout)).toEqual(run(299_901, 300_000))
})

test('logs -f goes on where the log becomes .old', async () => {
  const following = startVarve(logs('-f', '-n', '1'))
  let text = ''
  following.stdout?.on('data', (piece: Buffer) => (text += piece.toString()))
  await until(async () => text !== '')
  await varve(['exec', `${host.alias}:chatty`, ...work.common, '--', 'sh', '-c', 'echo >/more'])
  await until(async () => text.endsWith('line 0000400000\n'))
  const numbers = numbersIn(text)
  expect(numbers[0]).toBe(300_000)
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
  following.kill('SIGINT')
  await once(following, 'exit')
  await until(async () => (await sh(`pgrep -f '[t]ail.*${LOG}'`)) === '')
})

test('rm takes both away', async () => {
  await varveData(['stop', `${host.alias}:chatty`, ...work.common])
  await varveData(['rm', `${host.alias}:chatty`, ...work.common])
  expect(await sh(`ls ${LOG}* 2>/dev/null; ps -e -o args= | grep 'log[.]sh'`)).toBe('')
})

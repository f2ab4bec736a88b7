// What the runtime tells of manifests, under every shell and among BusyBox's tools alone.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDecompressed } from '../../src/tar/decompress.ts'
import { busyboxShell } from './busybox.ts'
import { Bench, evaluated, runtimeText } from './runtime.ts'

const shells: [string, () => readonly string[]][] = [
  ['dash', () => ['dash']],
  ['bash --posix', () => ['bash', '--posix']],
  ['BusyBox', busyboxShell],
]
const absent = 'f'.repeat(64)
const sum = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex')

let bench: Bench
const ids: string[] = []

beforeAll(async () => {
  bench = new Bench()
  for (const name of ['a', 'b', 'c']) {
    const rootfs = join(bench.work, name)
    mkdirSync(rootfs)
    for (let i = 0; i < 100; i++) writeFileSync(join(rootfs, `${name}\n${i}`), `${name} ${i}`)
    writeFileSync(Buffer.concat([Buffer.from(`${rootfs}/`), Buffer.from([0xe9, 0x5c])]), 'in all of them')
    writeFileSync(join(rootfs, 'some'), name === 'a' ? 'one' : 'another')
    await bench.push(rootfs)
    ids.push(/^stack ([0-9a-f]{64})$/m.exec(readFileSync(join(bench.store, `c/app/gen/${ids.length + 1}`), 'latin1'))?.[1] ?? '') // prettier-ignore
  }
})
afterAll(() => bench.remove())

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

const manifest = (id: string): Buffer => readFileSync(join(bench.store, 'tree', id, 'manifest'))
const linesOf = (text: Buffer): string[] => text.toString('latin1').split(/(?<=\n)/)

describe.each(shells)('under %s', (_, shell) => {
  const ask = async (request: string): Promise<{ records: string[]; payload: string }> => {
    const [program = '', ...args] = shell()
    const words = evaluated(runtimeText, [bench.work, '0', bench.store, join(bench.work, 'bundles')])
    const said = execFileSync(program, [...args, ...words], { input: `${request}\n`, encoding: 'latin1' })
    const [, head = said, size] = /^((?:.*\n)*?)payload (\d+)\n/.exec(said) ?? []
    const from = size === undefined ? said.length : `${head}payload ${size}\n`.length
    const bytes = Buffer.from(said.slice(from, from + Number(size ?? 0)), 'latin1')
    expect(said.slice(from + bytes.length)).toBe(size === undefined ? '' : 'ok\n')
    const { chunks } = await openDecompressed(only(bytes), { onWarning: () => {} })
    let payload = ''
    for await (const chunk of chunks) payload += Buffer.from(chunk).toString('latin1')
    return { records: head.split('\n').filter((line) => line !== '' && line !== 'ok'), payload }
  }

  test('outline has a hash for each 16 lines, the last ones too', async () => {
    const [id = ''] = ids
    const lines = linesOf(manifest(id))
    const hashes = Array.from({ length: Math.ceil(lines.length / 16) }, (__, i) =>
      sum(Buffer.from(lines.slice(i * 16, i * 16 + 16).join(''), 'latin1')).slice(0, 10),
    )
    expect(await ask(`outline - ${id}`)).toEqual({
      records: ['like 1 0', `outline ${id} 16 ${lines.length}`],
      payload: hashes.map((hash) => `${hash}\n`).join(''),
    })
  })

  test('outline tells of stacks those that hold what no other one before holds, each tree once', async () => {
    const [a = '', b = '', c = ''] = ids
    const sample = ['a 1', 'a 2', 'b 1', 'another', 'in all of them', 'nowhere'].map((text) => sum(text).slice(0, 10))
    const size = (id: string): number => linesOf(manifest(id)).length
    const { records, payload } = await ask(`outline ${sample.join(',')} - ${c} ${absent} ${b},${a} ${a}`)
    expect(records).toEqual(['like 1 0', 'like 4 5', `outline ${b} 16 ${size(b)}`, `outline ${a} 16 ${size(a)}`])
    expect(payload.split('\n').length - 1).toBe(Math.ceil(size(a) / 16) + Math.ceil(size(b) / 16))
    const own = await ask(`outline ${sample.join(',')} ${c} ${a} ${b}`)
    expect(own.records).toEqual(['like 1 2', `outline ${c} 16 ${size(c)}`, 'like 2 2', `outline ${a} 16 ${size(a)}`, 'like 3 1', `outline ${b} 16 ${size(b)}`]) // prettier-ignore
  })

  test('manifest gives lines, or all of them', async () => {
    const [id = ''] = ids
    const lines = linesOf(manifest(id))
    expect((await ask(`manifest ${id}`)).payload).toBe(lines.join(''))
    expect((await ask(`manifest ${id} 2-4,9-9,${lines.length}-9999`)).payload).toBe(
      [...lines.slice(1, 4), lines[8], lines.at(-1)].join(''),
    )
    // BusyBox's stat knows whole seconds only
    expect(linesOf(Buffer.from((await ask(`manifest ${id} actual`)).payload, 'latin1')).length).toBe(lines.length)
  })

  test.each([
    ['outline $(id) -', 'E_PROTO'],
    ['outline - ../x', 'E_PROTO'],
    ['outline abc/ -', 'E_PROTO'],
    ['manifest ../x', 'E_PROTO'],
    [`manifest ${absent}`, 'E_BASE_MISSING'],
    [`manifest ${absent} 1-$(id)`, 'E_PROTO'],
  ])('%s is refused', async (request, code) => {
    expect((await ask(request)).records.at(-1)).toMatch(new RegExp(`^die ${code} `))
  })

  test('nothing is left of it', () => {
    expect(bench.leftovers()).toEqual([])
  })
})

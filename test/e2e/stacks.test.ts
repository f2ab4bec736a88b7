// Generations on stacks of trees over SSH: deep ones, rolled back, damaged, collected while they run, killed half-way.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { baseTrees } from '../fixture/trees.ts'
import { makeImage, unpack } from '../fixture/umoci.ts'
import { startVarve, varve, varveData } from '../fixture/varve.ts'

let host: Host
let work: string
let layout: string
const at = (...path: string[]): string => join(work, ...path)
const common = (): string[] => ['-F', host.sshConfig, '--state-dir', at('state')]
const words = (tag: string, container: string): string[] => ['push', `oci:${layout}:${tag}`, `${host.alias}:${container}`, ...common()] // prettier-ignore
const push = (tag: string, container: string): Promise<Report> => varveData<Report>(words(tag, container))
const ids = ({ layers }: Report): string[] => layers.map(({ id }) => id)
const said = async (command: string): Promise<string> => {
  const { stdout, stderr } = await host.exec(command)
  return stdout.toString() + stderr
}
const run = (container: string): Promise<string> =>
  said(`cd /var/lib/machines/${container} && runc run ${container} </dev/null`)
const trees = async (): Promise<string[]> => (await said('ls /var/lib/varve/tree')).trim().split('\n')
const leftovers = (): Promise<string> => said('cd /var/lib/varve && ls -A stage in tx trash | grep -v : | grep .')

function layer(name: string, files: Readonly<Record<string, string>>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(at(name, path, '..'), { recursive: true })
    writeFileSync(at(name, path), text, { mode: 0o755 })
  }
  return at(name)
}
const says = (name: string): string => layer(name, { say: `#!/bin/sh\necho ${name}\n` })

beforeAll(async () => {
  host = await startHost()
  work = mkdtempSync(join(tmpdir(), 'varve-stacks-'))
  layout = at('layout')
  cpSync(baseTrees().rootfsBusybox, at('base'), { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
  makeImage(layout, 'base', { layers: [at('base')] })
  for (const tag of ['one', 'two', 'three'])
    makeImage(layout, tag, { from: 'base', layers: [layer(`${tag}-data`, { [`srv/${tag}`]: tag }), says(tag)], command: ['/say'] }) // prettier-ignore
})
afterAll(async () => {
  await host.stop()
  rmSync(work, { recursive: true, force: true })
})

test('rollback() goes from one stack to another and back', async () => {
  const one = await push('one', 'app')
  const two = await push('two', 'app')
  expect(ids(two)[0]).toBe(ids(one)[0])
  expect(await run('app')).toBe('two\n')
  await varveData(['rollback', `${host.alias}:app`, ...common()])
  expect(await run('app')).toBe('one\n')
  expect(await said('ls /var/lib/machines/app/rootfs/srv')).toBe('one\n')
  await varveData(['rollback', `${host.alias}:app`, '--to', '2', ...common()])
  expect(await run('app')).toBe('two\n')
  expect(await said('ls /var/lib/machines/app/rootfs/srv')).toBe('two\n')
})

test('gc() keeps what a container still runs on, of whatever generation, and frees it afterwards', async () => {
  const one = await varveData<Report>([...words('one', 'runs'), '--cmd', '/bin/sleep', '1000'])
  await said('cd /var/lib/machines/runs && runc run -d runs </dev/null >/dev/null 2>&1')
  await push('two', 'runs')
  await push('three', 'runs')
  await varveData(['rm', `${host.alias}:app`, ...common()])
  const gc = (): Promise<unknown> => varveData(['gc', host.alias, '--keep', '1', ...common()])
  await gc()
  const three = await push('three', 'runs')
  expect(await trees()).toEqual([...new Set([...ids(one), ...ids(three)])].toSorted())
  expect(await said('runc exec runs cat /srv/one /say')).toBe(`one#!/bin/sh\necho one\n`)
  await said('runc delete -f runs')
  await gc()
  expect(await trees()).toEqual(ids(three).toSorted())
  expect(await run('runs')).toBe('three\n')
})

test('push() heals a layer that was damaged, and what else stands on it is whole again', async () => {
  const { layers } = await push('three', 'sick')
  await said(`echo bad >/var/lib/varve/tree/${layers[1]?.id}/root/srv/three`)
  expect((await varve(['verify', `${host.alias}:sick`, ...common()])).status).toBe(3)
  const report = await push('three', 'healed')
  expect(report.layers.map(({ state }) => state)).toEqual(['present', 'sent', 'present'])
  expect(await said('cat /var/lib/machines/healed/rootfs/srv/three')).toBe('three')
  expect((await varve(['verify', `${host.alias}:sick`, ...common()])).status).toBe(0)
})

test('push() heals a layer of which only the base is damaged', async () => {
  const [base] = ids(await push('three', 'sick'))
  await said(`rm /var/lib/varve/tree/${base}/root/etc/passwd`)
  const report = await push('one', 'healed')
  expect(report.layers[0]).toMatchObject({ id: base, state: 'sent' })
  expect(await run('healed')).toBe('one\n')
})

test('push() mounts an image that has layers twice', async () => {
  const [data, other] = [
    layer('data', { 'srv/data': 'one' }),
    layer('other', { 'srv/data': 'two', 'srv/.wh.base': '' }),
  ]
  makeImage(layout, 'again', {
    from: 'base',
    layers: [data, other, says('again'), data, other, data],
    command: ['/say'],
  })
  const report = await varveData<Report>([...words('again', 'again'), '--rootfs', 'overlay'])
  expect(report.layers).toHaveLength(4)
  expect(await run('again')).toBe('again\n')
  await expectDeployed(host, '/var/lib/machines/again/rootfs', unpack(layout, 'again', at('bundle-again')))
})

test('push() merges what is more than a mount can have, and lays flat sources over it within that', async () => {
  const layers = Array.from({ length: 45 }, (_, i) =>
    layer(`deep-${i}`, { [`deep/${i % 7}/${i}`]: `${i}`, 'deep/same': `${i}`, [`deep/.wh.${i % 3}`]: '' }),
  )
  makeImage(layout, 'deep', { from: 'base', layers: [...layers, says('deep')], command: ['/say'] })
  const report = await push('deep', 'deep')
  expect(report.layers.length).toBeGreaterThan(20)
  expect(report.layers.length).toBeLessThan(47)
  const unpacked = unpack(layout, 'deep', at('bundle'))
  await expectDeployed(host, '/var/lib/machines/deep/rootfs', unpacked)
  expect(await run('deep')).toBe('deep\n')
  for (const time of [1, 2]) {
    writeFileSync(join(unpacked, `flat-${time}`), `${time}`)
    const flat = await varveData<Report>(['push', `rootfs:${unpacked}`, `${host.alias}:deep`, ...common()])
    expect(flat.layers.length).toBeLessThanOrEqual(report.layers.length)
    expect(flat.layers.slice(0, 20).every(({ state }) => state === 'present')).toBe(true)
    await expectDeployed(host, '/var/lib/machines/deep/rootfs', unpacked)
  }
})

test.each(['the runtime', 'varve'])(
  'push() of many layers, %s being killed half-way, goes on where it was',
  async (who) => {
    const name = who === 'varve' ? 'client' : 'runtime'
    const layers = Array.from({ length: 12 }, (_, i) => layer(`${name}-${i}`, { [`many/${name}-${i}`]: `${i}` }))
    makeImage(layout, name, { from: 'base', layers: [...layers, says(name)], command: ['/say'] })
    const before = (await trees()).length
    const child = startVarve([...words(name, name), '--retries', '0', '--json'])
    const ended = new Promise((resolve) => child.once('close', resolve))
    while ((await trees()).length < before + 4) await sleep(20)
    if (who === 'varve') child.kill('SIGKILL')
    else await said('until read -r _ _ runtime </var/lib/varve/tx/intent && kill -9 "$runtime"; do :; done 2>/dev/null')
    expect(await ended).not.toBe(0)
    expect(await said(`ls /var/lib/varve/c | grep -x ${name}`)).toBe('')
    const report = await push(name, name)
    expect(report.layers.filter(({ state }) => state === 'present').length).toBeGreaterThan(4)
    expect(await run(name)).toBe(`${name}\n`)
    await expectDeployed(host, `/var/lib/machines/${name}/rootfs`, unpack(layout, name, at(`bundle-${name}`)))
    expect(await leftovers()).toBe('')
  },
)

test('two pushes of images on one base at once both succeed', async () => {
  const base = layer('shared', Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`shared/${i}`, `${i}`])))
  makeImage(layout, 'shared', { from: 'base', layers: [base] })
  for (const tag of ['left', 'right'])
    makeImage(layout, tag, { from: 'shared', layers: [says(tag)], command: ['/say'] })
  const pushes = ['left', 'right'].map((tag) =>
    varveData<Report>([...words(tag, tag), '--state-dir', at(`state-${tag}`)]),
  )
  await Promise.all(pushes)
  expect([await run('left'), await run('right')]).toEqual(['left\n', 'right\n'])
})

// Whole config.jsons: golden results for what engines wrote, wishes and patches over them, and notes on what changed beneath.
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { at, parseObject, put, textAt, type Json, type JsonObject } from '../../src/bundle/document.ts'
import { makeConfig, type Made, type Wish } from '../../src/bundle/make.ts'
import type { Around } from '../../src/bundle/rewrites.ts'
import { parseSettings, type Settings } from '../../src/bundle/settings.ts'
import { AROUND, FIXTURES, HOST, fixture } from './around.ts'

const plain: JsonObject = { ociVersion: '1.0.2', process: { args: ['/x'], cwd: '/', env: ['A=1'] } }
const wish = (settings: Settings, more: Partial<Wish> = {}): Wish => ({ what: 'it', settings, user: undefined, under: {}, ...more }) // prettier-ignore
const make = (settings: Settings, config = plain, around: Partial<Around> = {}): Made => makeConfig(config, { ...AROUND, ...around }, wish(settings)) // prettier-ignore
const read = (made: Made): JsonObject => parseObject(made.text('/r'), 'it')
const keptIn = (made: Made) => parseSettings(textAt(read(made), 'annotations', 'varve.settings') ?? '')

describe('makeConfig()', () => {
  /** As a small Debian of today has it, and as the fixtures' limits ask for more than it gives. */
  const facts = { ...HOST, apparmor: false, selinux: false, limits: new Map([['NOFILE', 1048576n], ['NPROC', 96551n]]) } // prettier-ignore
  test.each(Object.entries(FIXTURES).flatMap(([name, data]) => (['runc', 'nspawn'] as const).map((engine) => [name, engine, data] as const)))('makes of %s what %s takes', async (name, engine, data) => {
    const settings = { mount: [`/srv/fossil:${data}`] }
    const made = make(settings, fixture(name), { engine, facts, container: 'fossil' })
    await expect(made.text('rootfs')).toMatchFileSnapshot(join(import.meta.dirname, `fixtures/${name}.${engine}.json`))
    const text = made.text('/var/lib/varve/c/fossil/bundle/1/rootfs')
    expect(text).toBe(made.text('rootfs').replace('"rootfs"', '"/var/lib/varve/c/fossil/bundle/1/rootfs"'))
    // and of that nothing more
    const again = makeConfig(parseObject(text, 'it'), { ...AROUND, engine, facts, container: 'fossil' }, wish(settings))
    expect(again.text('rootfs')).toBe(made.text('rootfs'))
  }) // prettier-ignore

  test('tells every difference from what the source says', () => {
    const made = make({ cwd: '/srv', patch: [{ process: { oomScoreAdj: 5 } }] }, put(plain, ['hooks'], {}))
    expect(made.changes.map(({ rewrite, path, was, now }) => [rewrite, path, was, now])).toEqual([
      ['root', 'root.path', undefined, 'rootfs'],
      ['hooks', 'hooks', {}, undefined],
      ['options', 'process.cwd', '/', '/srv'],
      ['patch', 'process.oomScoreAdj', undefined, 5],
    ])
  })

  test('lays patches over all else, in order, and keeps them with what lay beneath', () => {
    const patch = [{ process: { args: ['/p'], env: null } }, { process: { args: ['/q'] }, linux: { sysctl: { x: '1' } } }]
    const made = make({ cmd: ['/c'], patch })
    expect(read(made)).toMatchObject({ process: { args: ['/q'], cwd: '/' }, linux: { sysctl: { x: '1' } } })
    expect(at(read(made), 'process', 'env')).toBeUndefined()
    expect(keptIn(made)).toEqual({
      settings: { cmd: ['/c'], patch },
      under: { 'process.args': ['/c'], 'process.env': ['A=1'], 'linux.sysctl.x': null },
    })
  }) // prettier-ignore

  test('notes three ways what changed under a patch, and nothing else', () => {
    const settings = { patch: [{ process: { args: ['/mine'], cwd: '/m' } }] }
    const noted = (config: JsonObject, under: JsonObject): readonly string[] => makeConfig(config, AROUND, wish(settings, { under })).notes // prettier-ignore
    const { under } = keptIn(make(settings))
    expect(noted(plain, under)).toEqual([])
    expect(noted(put(plain, ['process', 'env'], ['B=2']), under)).toEqual([])
    expect(noted(put(plain, ['process', 'args'], ['/new']), under)).toEqual([
      'process.args was ["/x"] under --config-patch and is ["/new"] now; the patch makes it ["/mine"]',
    ])
    expect(noted(plain, {})).toEqual([])
  })

  test('mounts what outlives generations over all else, and is not asked to keep it', () => {
    const persist = new Map([['/data', '/var/lib/varve/c/app/data/data']])
    const config = put(plain, ['mounts'], [{ destination: '/data/', type: 'bind', source: '/x/volumes/v/_data' }])
    const made = makeConfig(config, AROUND, wish({ mount: ['/srv:/data', '/srv:/b', '/c:/b'], engine: 'crun' }, { persist })) // prettier-ignore
    expect((at(read(made), 'mounts') as JsonObject[]).map(({ destination, source }) => [destination, source])).toEqual([
      ['/data', '/var/lib/varve/c/app/data/data'],
      ['/b', '/c'],
    ])
    expect(keptIn(made).settings).toEqual({ mount: ['/srv:/data', '/srv:/b', '/c:/b'], engine: 'crun' })
    expect(at(read(made), 'annotations', 'varve.engine')).toBe('crun')
  })

  test('keeps wishes and no foreign ones', () => {
    const foreign = put(plain, ['annotations'], { 'varve.settings': '{"cmd":["/evil"]}', other: 'x' })
    expect(at(read(make({}, foreign)), 'annotations')).toEqual({ other: 'x' })
    expect(keptIn(make({ env: ['é=\u2028'] }, foreign))).toEqual({ settings: { env: ['é=\u2028'] }, under: {} })
    expect(make({}).text('rootfs')).not.toContain('annotations')
    // a shell finds them on a line of their own
    expect(make({ cwd: '/srv' }).text('rootfs')).toMatch(/^ {4}"varve\.settings": "[ -~]*"$/m)
  })

  test.each<[Settings, Partial<Around>, Json | undefined]>([
    [{ net: 'none' }, {}, [{ type: 'network' }]],
    [{ net: 'path:/run/netns/x' }, {}, [{ type: 'network', path: '/run/netns/x' }]],
    [{}, {}, undefined],
  ])('%j says the network', (settings, around, namespaces) => {
    expect(at(read(make(settings, plain, around)), 'linux', 'namespaces')).toEqual(namespaces)
  })

  test.each<[string, JsonObject, Settings]>([
    ['no process', { ociVersion: '1.0.2' }, { cmd: ['/x'] }],
    ['a working directory in /proc', put(plain, ['process', 'cwd'], '/proc/self/fd/7'), {}],
    ['a patch that puts it there', plain, { patch: [{ process: { cwd: '/proc' } }] }],
    ['a patch that takes the process away', plain, { patch: [{ process: null }] }],
    ['a patch whose mount climbs', plain, { patch: [{ mounts: [{ destination: '/a/../..' }] }] }],
  ])('refuses %s', (_, config, settings) => {
    expect(() => make(settings, config)).toThrow(expect.objectContaining({ code: 'E_CONFIG' }))
  })

  test('gives systemd-nspawn no patch that it would refuse without a word', () => {
    const settings = { patch: [{ linux: { intelRdt: {} }, hooks: {} }] }
    expect(() => make(settings, plain, { engine: 'nspawn' })).toThrow(
      expect.objectContaining({ code: 'E_CONFIG', message: expect.stringContaining('linux.intelRdt') }),
    )
    expect(at(read(make({ ...settings, keep: ['nspawn'] }, plain, { engine: 'nspawn' })), 'hooks')).toEqual({})
    // what the operator mounts is said in its words
    const mount = ['/a:/b:ro']
    expect(at(read(make({ mount }, plain, { engine: 'nspawn' })), 'mounts')).toEqual([{ destination: '/b', type: 'bind', source: '/a', options: ['rbind'] }]) // prettier-ignore
  })
})

// The operator's wishes: how they are written, what is refused, what they do, and that they come back as they were kept.
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { at, type JsonObject } from '../../src/bundle/document.ts'
import { carryOut, checkSettings, mergeSettings, parseMount, parseNetwork, parseSettings, settingsText, type Settings } from '../../src/bundle/settings.ts' // prettier-ignore
import { ENGINES } from '../../src/model/engine.ts'
import { REWRITES } from '../../src/bundle/rewrites.ts'

const config: JsonObject = {
  process: { args: ['/a'], env: ['A=1', 'PATH=/bin', 'B=2'], cwd: '/', user: { uid: 0, gid: 0 } },
  mounts: [
    { destination: '/data/', type: 'tmpfs' },
    { destination: '/proc', type: 'proc' },
  ],
}

describe('carryOut()', () => {
  test('does just what is wished', () => {
    expect(carryOut(config, {}, undefined)).toBe(config)
    const wished = carryOut(config, { cmd: ['/x', '$(id)'], env: ['B=3=4', 'C='], cwd: '/srv', capAdd: ['SYS_TIME'] }, { uid: 7, gid: 8 }) // prettier-ignore
    expect(wished['process']).toEqual({
      args: ['/x', '$(id)'],
      env: ['A=1', 'PATH=/bin', 'B=3=4', 'C='],
      cwd: '/srv',
      user: { uid: 7, gid: 8 },
      capabilities: { bounding: ['CAP_SYS_TIME'] },
    })
    expect(wished['mounts']).toEqual(config['mounts'])
  })

  test('mounts in the place of what is there, or nothing', () => {
    const mounts = (...mount: string[]) => at(carryOut(config, { mount }, undefined), 'mounts')
    const proc = { destination: '/proc', type: 'proc' }
    expect(mounts('/srv/d:/data:ro')).toEqual([proc, { destination: '/data', type: 'bind', source: '/srv/d', options: ['rbind', 'rprivate', 'ro'] }]) // prettier-ignore
    expect(mounts('none:/data')).toEqual([proc])
    expect(mounts('none:/other')).toEqual(config['mounts'])
  })
})

test.each(['', '/a', '/a:', '/a:b', 'a:/b', '/a:/', '/a:/.', '/a:/./', '/a:/proc', '/a:/./proc/sys', '/a:/b/../c', '/a/../b:/c', '/a:/b:rx', '/a:/b:ro:ro', '/a:/b\0', 'tmpfs:/b'])('parseMount() refuses %j', (text) => {
  expect(() => parseMount(text)).toThrow(expect.objectContaining({ code: 'E_USAGE' }))
}) // prettier-ignore
test('parseMount() reads the rest', () => {
  expect(parseMount('/a b:/c//d/./')).toEqual({ source: '/a b', destination: '/c/d', readOnly: false })
  expect(parseMount('/:/host:ro')).toEqual({ source: '/', destination: '/host', readOnly: true })
  expect(parseMount('/a:/b:rw')).toEqual({ source: '/a', destination: '/b', readOnly: false })
  expect(parseMount('none:/procs')).toEqual({ source: undefined, destination: '/procs', readOnly: false })
})

test('parseNetwork() reads three kinds', () => {
  expect([undefined, 'host', 'none', 'path:/run/netns/x'].map(parseNetwork)).toEqual([{ kind: 'host' }, { kind: 'host' }, { kind: 'none' }, { kind: 'path', path: '/run/netns/x' }]) // prettier-ignore
  for (const bad of ['', 'bridge', 'path:', 'path:x', 'path:/a/../b'])
    expect(() => parseNetwork(bad)).toThrow(expect.objectContaining({ code: 'E_USAGE' }))
})

test.each<Settings>([
  { cmd: [] }, { cmd: [''] }, { cmd: ['a\0b'] }, { cwd: '' }, { cwd: 'srv' }, { cwd: '/proc/1' }, { user: '' }, { user: 'a b' },
  { env: ['A'] }, { env: ['=1'] }, { env: ['A=1\nB=2'] }, { keep: ['root'] }, { capAdd: ['X'] }, { capDrop: ['X'] }, { net: 'x' }, { mount: ['x'] },
])('checkSettings() refuses %j', (settings) => {
  expect(() => checkSettings(settings)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^E_(?:USAGE|CONFIG)$/) }))
}) // prettier-ignore

describe('parseSettings()', () => {
  const text = fc.string({ unit: 'binary' }).map((word) => word.replaceAll('\0', ''))
  const word = fc.stringMatching(/^[a-z]{1,8}$/)
  const optional = { requiredKeys: [] }
  const settings = fc.record<Settings>(
    {
      cmd: fc.tuple(word, text).map((words) => words),
      env: fc.array(word.map((name) => `${name}=é\u2028"\\`), { minLength: 1 }),
      cwd: fc.constant('/srv/"x"'),
      user: word,
      mount: fc.array(word.map((name) => `/a:/${name}`), { minLength: 1 }),
      capAdd: fc.constant(['SYS_TIME']),
      net: fc.constantFrom('host', 'none', 'path:/x'),
      keep: fc.array(fc.constantFrom(...REWRITES), { minLength: 1 }),
      engine: fc.constantFrom(...ENGINES),
      patch: fc.array(fc.dictionary(word, text), { minLength: 1 }),
    },
    optional,
  ) // prettier-ignore

  test('gives back what was kept, from one line of plain characters', () => {
    fc.assert(
      fc.property(settings, fc.dictionary(word, text), (wished, under) => {
        const kept = settingsText({ settings: wished, under })
        if (Object.keys(wished).length === 0) expect(kept).toBeUndefined()
        else {
          expect(kept).toMatch(/^[ -~]+$/)
          const read = parseSettings(kept ?? '')
          expect(read).toEqual({ settings: wished, under })
          expect(settingsText(read)).toBe(kept)
          expect(settingsText({ ...read, settings: mergeSettings(wished, { ...wished }) })).toBe(kept)
        }
      }),
    )
  })

  test('passes over what a later version keeps', () => {
    expect(parseSettings('{"persist":["/x"],"engine":"other","cwd":"/"}')).toEqual({
      settings: { cwd: '/' },
      under: {},
    })
  })

  test.each(['', '[]', '{', '{"cmd":"x"}', '{"cmd":[1]}', '{"cwd":1}', '{"cwd":"/proc"}', '{"mount":["/a:/"]}', '{"keep":["x"]}'])('refuses %s', (bad) => {
    expect(() => parseSettings(bad)).toThrow(expect.objectContaining({ code: 'E_PROTO' }))
  }) // prettier-ignore
})

test('mergeSettings() lets each wish that is given anew take the place of the old one', () => {
  expect(mergeSettings({ env: ['A=1'], cwd: '/a' }, { env: ['B=2'] })).toEqual({ env: ['B=2'], cwd: '/a' })
})

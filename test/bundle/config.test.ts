// config.json: what is kept of a bundle's, what an image and the user say of the process, and what is refused.
import { describe, expect, test } from 'vitest'
import { imageProcess, minimalConfig, rewriteConfig, type Process } from '../../src/bundle/config.ts'

const PLAIN: Process = { args: undefined, env: [], cwd: undefined, user: undefined }
const refused = expect.objectContaining({ code: 'E_CONFIG' })

type Made = { process: { args: string[]; env: string[]; cwd: string; user: object }; root: object; hostname: string }
const made = (run: Partial<Process>): Made => JSON.parse(minimalConfig({ ...PLAIN, ...run }, 'app', '/r')) as Made

describe('rewriteConfig()', () => {
  test('points the root at the new path and keeps all else', () => {
    const config = { ociVersion: '1.0.2', root: { path: 'fs', readonly: true }, annotations: { __proto__x: '1' }, x: [1] }
    expect(JSON.parse(rewriteConfig(JSON.stringify(config), '/r'))).toEqual({ ...config, root: { path: '/r', readonly: true } })
    expect(JSON.parse(rewriteConfig('{"ociVersion":"1"}', '/r'))).toEqual({ ociVersion: '1', root: { path: '/r' } })
  }) // prettier-ignore

  test.each(['', '{', 'null', '1', '"x"', '[]', '{}', '{"ociVersion":1}', '{"ociVersion":"1","root":"fs"}', '{"ociVersion":"1","root":[]}'])('refuses %s', (text) => {
    expect(() => rewriteConfig(text, '/r')).toThrow(refused)
  }) // prettier-ignore
})

describe('imageProcess()', () => {
  const of = (config: unknown, run: Partial<Process> = {}): Process =>
    imageProcess(JSON.stringify({ config }), { ...PLAIN, ...run })

  test('runs the entrypoint with the command, as the image says', () => {
    expect(of({ Entrypoint: ['/e'], Cmd: ['c', ''], Env: ['A=1'], WorkingDir: '/w', User: '1:2' })).toEqual({
      args: ['/e', 'c', ''],
      env: ['A=1'],
      cwd: '/w',
      user: '1:2',
    })
    expect(of({ Cmd: ['c'] }).args).toEqual(['c'])
  })

  test.each([{}, undefined, null, { Entrypoint: null, Cmd: null, Env: null, WorkingDir: '', User: '' }, { Entrypoint: [], Cmd: [] }])('leaves open what %j does not say', (config) => {
    expect(of(config)).toEqual(PLAIN)
  }) // prettier-ignore

  test('gives way to what the user says, variables one by one', () => {
    const run = { args: ['x'], env: ['A=2'], cwd: '/u', user: '3' }
    expect(of({ Entrypoint: ['/e'], Env: ['A=1'], WorkingDir: '/w', User: 'root;id' }, run)).toEqual({ ...run, env: ['A=1', 'A=2'] })
  }) // prettier-ignore

  test.each([{ Entrypoint: 'sh -c x' }, { Cmd: [1] }, { Env: { A: '1' } }, { User: 'root' }, { User: 'root;id' }, { User: '1:wheel' }, { User: '\x1b[1m' }])('refuses %j', (config) => {
    expect(() => of(config)).toThrow(refused)
  }) // prettier-ignore

  test('reads a config that is none as one that says nothing', () => {
    expect(imageProcess('null', PLAIN)).toEqual(PLAIN)
    expect(imageProcess('{}', PLAIN)).toEqual(PLAIN)
  })
})

describe('minimalConfig()', () => {
  test('is a shell as root in the root directory where nothing is said', () => {
    const { process, root, hostname } = made({})
    expect(process).toMatchObject({ args: ['/bin/sh'], cwd: '/', user: { uid: 0, gid: 0 } })
    expect(process.env).toEqual([expect.stringMatching(/^PATH=\/usr\/local\/sbin:/)])
    expect({ root, hostname }).toEqual({ root: { path: '/r', readonly: false }, hostname: 'app' })
  })

  test('takes the words as they are', () => {
    expect(made({ args: ['/x', '$(id)', '"\\'] }).process.args).toEqual(['/x', '$(id)', '"\\'])
    expect(made({ env: ['PATH=/b', 'A==', 'B='] }).process.env).toEqual(['PATH=/b', 'A==', 'B='])
    expect(made({ user: '7' }).process.user).toEqual({ uid: 7, gid: 0 })
    expect(made({ user: '4294967294:1' }).process.user).toEqual({ uid: 4294967294, gid: 1 })
    for (const cwd of ['/procs', '/a/../b', '/proc/../b', '/a/proc']) expect(made({ cwd }).process.cwd).toBe(cwd)
  })

  test.each<Partial<Process>>([
    { cwd: '/proc/self/fd/7' }, { cwd: '/proc' }, { cwd: '//proc/1' }, { cwd: '/x/../proc/self/fd/7' }, { cwd: '/./proc/self/fd/7' },
    { cwd: 'srv' }, { cwd: '' }, { cwd: '/a\0b' },
    { env: ['A'] }, { env: ['=1'] }, { env: [''] }, { env: ['A=1\nB=2'] }, { env: ['A\n=1'] }, { env: ['A=\0'] },
    { user: '' }, { user: 'root' }, { user: '-1' }, { user: '4294967295' }, { user: '1:4294967295' }, { user: '1:2:3' }, { user: '1 ' }, { user: '1\n' },
    { args: [] }, { args: ['a\0b'] }, { args: [''] },
  ])('refuses %j', (run) => {
    expect(() => made(run)).toThrow(refused)
  }) // prettier-ignore
})

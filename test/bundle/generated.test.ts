// A config.json of varve's own: what it says where nothing is said, and that it takes words as they are.
import { describe, expect, test } from 'vitest'
import { checkVariable, generate } from '../../src/bundle/generated.ts'
import { SAYS_NOTHING, type Process } from '../../src/bundle/image.ts'

type Made = { process: { args: string[]; env: string[]; cwd: string; user: object }; root: object; hostname: string; mounts: { destination: string }[]; annotations?: object } // prettier-ignore
const made = (process: Partial<Process>, more: object = {}): Made => generate({ ...SAYS_NOTHING, process: { ...SAYS_NOTHING.process, ...process }, user: { uid: 0, gid: 0 }, volumes: [], name: 'app', ...more }) as unknown as Made // prettier-ignore

describe('generate()', () => {
  test('is a shell as root in the root directory where nothing is said', () => {
    const { process, root, hostname, annotations } = made({})
    expect(process).toMatchObject({ args: ['/bin/sh'], cwd: '/', user: { uid: 0, gid: 0 } })
    expect(process.env).toEqual([expect.stringMatching(/^PATH=\/usr\/local\/sbin:/)])
    expect({ root, hostname, annotations }).toEqual({ root: { path: 'rootfs', readonly: false }, hostname: 'app' })
  })

  test('takes the words as they are', () => {
    expect(made({ args: ['/x', '$(id)', '"\\'] }).process.args).toEqual(['/x', '$(id)', '"\\'])
    expect(made({ env: ['PATH=/b', 'A==', 'B='] }).process.env).toEqual(['PATH=/b', 'A==', 'B='])
    expect(made({ cwd: '/w' }, { user: { uid: 7, gid: 8 } }).process).toMatchObject({ cwd: '/w', user: { uid: 7, gid: 8 } })
    expect(made({}, { annotations: { a: 'b' } }).annotations).toEqual({ a: 'b' })
  }) // prettier-ignore

  test('keeps volumes in memory, with what the image has there', () => {
    const options = ['nosuid', 'nodev', 'tmpcopyup']
    const volume = { destination: '/data', type: 'tmpfs', source: 'tmpfs', options }
    expect(made({}, { volumes: [{ path: '/data' }] }).mounts.at(-1)).toEqual(volume)
    const owned = made({}, { volumes: [{ path: '/data', owner: { uid: 7, gid: 8, mode: 0o700 } }] }).mounts.at(-1)
    expect(owned).toEqual({ ...volume, options: [...options, 'mode=0700', 'uid=7', 'gid=8'] })
  })

  test.each(['A', '=1', '', 'A=1\nB=2', 'A\n=1', 'A=\0'])('checkVariable() refuses %j', (item) => {
    expect(() => checkVariable(item)).toThrow(expect.objectContaining({ code: 'E_CONFIG' }))
    expect(() => made({ env: [item] })).toThrow(expect.objectContaining({ code: 'E_CONFIG' }))
  })
})

// What is taken from an image's config, by the conversion rules of the image specification.
import { describe, expect, test } from 'vitest'
import { imageSays, SAYS_NOTHING, type Says } from '../../src/bundle/image.ts'

const of = (config: unknown, image: object = {}): Says => imageSays(JSON.stringify({ ...image, config }))

describe('imageSays()', () => {
  test('runs the entrypoint with the command, as the image says', () => {
    const config = { Entrypoint: ['/e'], Cmd: ['c', ''], Env: ['A=1'], WorkingDir: '/w', User: 'fossil:staff' }
    expect(of(config).process).toEqual({ args: ['/e', 'c', ''], env: ['A=1'], cwd: '/w', user: 'fossil:staff' })
    expect(of({ Cmd: ['c'] }).process.args).toEqual(['c'])
  })

  test.each([{}, undefined, null, { Entrypoint: null, Cmd: null, Env: null, WorkingDir: '', User: '', Labels: null, Volumes: null, ExposedPorts: null, StopSignal: '' }, { Entrypoint: [], Cmd: [] }])('leaves open what %j does not say', (config) => {
    expect(of(config)).toEqual(SAYS_NOTHING)
  }) // prettier-ignore

  test('makes annotations of what a runtime has no field for; a label of the same name wins', () => {
    const image = { os: 'linux', architecture: 'arm64', variant: 'v8', 'os.version': '1', 'os.features': ['a', 'b'], author: 'me', created: '2020-01-01T00:00:00Z' }
    const Labels = { a: 'b', 'org.opencontainers.image.author': 'label' }
    const config = { StopSignal: 'SIGINT', ExposedPorts: { '80/tcp': {}, '53/udp': {} }, Volumes: { '/b': {}, '/a': {} }, Labels }
    const says = of(config, image)
    const key = (name: string): string => `org.opencontainers.image.${name}`
    expect(says.annotations).toEqual({
      a: 'b',
      [key('os')]: 'linux',
      [key('architecture')]: 'arm64',
      [key('variant')]: 'v8',
      [key('os.version')]: '1',
      [key('os.features')]: 'a,b',
      [key('author')]: 'label',
      [key('created')]: '2020-01-01T00:00:00Z',
      [key('stopSignal')]: 'SIGINT',
      [key('exposedPorts')]: '80/tcp,53/udp',
    })
    expect(says.volumes).toEqual(['/a', '/b'])
  }) // prettier-ignore

  test('leaves out labels that an engine would take as orders, and says which', () => {
    const orders = ['run.oci.hooks.stdout', 'org.systemd.property.ExecStop', 'varve.settings', '']
    const says = of({ Labels: { ...Object.fromEntries(orders.map((key) => [key, 'x'])), 'run.ocio': 'kept' } })
    expect(says.annotations).toEqual({ 'run.ocio': 'kept' })
    expect(says.unsafe.toSorted()).toEqual(orders.toSorted())
  })

  test.each([{ Entrypoint: 'sh -c x' }, { Cmd: [1] }, { Env: { A: '1' } }, []])('refuses %j', (config) => {
    expect(() => of(config)).toThrow(expect.objectContaining({ code: 'E_CONFIG' }))
  })
})

// The words of the command line: which names, hosts, targets and sources are ones, and what they say.
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hostText, parseContainerName, parseHost, parseSource, parseTarget, sourceText } from '../../src/model/names.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })

describe('parseContainerName()', () => {
  test.each(['a', '0', 'a.b-c_d', 'n'.repeat(63)])('takes %s', (name) => expect(parseContainerName(name)).toBe(name))

  test.each(['', '../x', '-rf', '.', '..', '.a', '_a', 'a b', 'a/b', '$(id)', 'a;id', 'App', 'n'.repeat(64), 'n'.repeat(300), '\u0430pp', 'e\u0301', 'a\n', 'a\0', '\x1b[31m'])('refuses %j', (name) => {
    expect(() => parseContainerName(name)).toThrow(code('E_NAME'))
  }) // prettier-ignore
})

describe('parseTarget()', () => {
  test.each([
    ['local:app', { host: { kind: 'local' }, container: 'app' }],
    ['host:app', { host: { kind: 'ssh', host: 'host' }, container: 'app' }],
    ['me@host.example:app', { host: { kind: 'ssh', user: 'me', host: 'host.example' }, container: 'app' }],
    ['me@local:app', { host: { kind: 'ssh', user: 'me', host: 'local' }, container: 'app' }],
    ['[fe80::1%eth0]:app', { host: { kind: 'ssh', host: 'fe80::1%eth0' }, container: 'app' }],
    ['ssh://me@host:2222/app', { host: { kind: 'ssh', user: 'me', host: 'host', port: 2222 }, container: 'app' }],
    ['ssh://[::1]:65535/app', { host: { kind: 'ssh', host: '::1', port: 65535 }, container: 'app' }],
    ['ssh://local/app', { host: { kind: 'ssh', host: 'local' }, container: 'app' }],
  ])('reads %s', (text, target) => expect(parseTarget(text)).toEqual(target))

  test.each(['', 'host', 'local', 'local:', 'ssh://host', 'ssh://host/', 'host:a:b', 'host:a/b', 'ssh://host/a/b', 'fe80::1:app'])('refuses %j for its name', (text) => {
    expect(() => parseTarget(text)).toThrow(code(text === '' ? 'E_HOST' : 'E_NAME'))
  }) // prettier-ignore
})

describe('parseHost()', () => {
  test('reads a host alone, or with a name', () => {
    expect(parseHost('local')).toEqual({ host: { kind: 'local' } })
    expect(parseHost('me@host')).toEqual({ host: { kind: 'ssh', user: 'me', host: 'host' } })
    expect(parseHost('host:app')).toEqual({ host: { kind: 'ssh', host: 'host' }, container: 'app' })
    expect(parseHost('ssh://host:22')).toEqual({ host: { kind: 'ssh', host: 'host', port: 22 } })
  })

  test.each([
    '', ':app', 'me@', 'me@:app', '@host', 'ssh://', 'ssh:///app', 'ssh://me@/app',
    '-oProxyCommand=x', 'me@-host', '-l@host', 'a b', 'host;id', '$(id)', '../x', 'h\u00f6st', 'ho\nst', 'host\0', '\x1b[31m',
    '[::1', '::1]', '[x]', '[]', 'ssh://fe80::1/app', 'h'.repeat(254),
    'ssh://host:/app', 'ssh://host:0/app', 'ssh://host:65536', 'ssh://host:70000/app', 'ssh://host:-1/app', 'ssh://host:1e3/app',
  ])('refuses %j', (text) => {
    expect(() => parseHost(text)).toThrow(code('E_HOST'))
  }) // prettier-ignore

  test('takes no word that could be an option, or more than one word to a shell', () => {
    const word = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...Array.from('a@:/[]-;$( \n')) }))
    fc.assert(
      fc.property(word, (text) => {
        let host
        try {
          ;({ host } = parseHost(text))
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^E_(?:HOST|NAME)$/) })
          return
        }
        if (host.kind === 'ssh') expect(`${host.host} ${host.user ?? 'u'}`).toMatch(/^[\w:][\w.:%-]* [A-Za-z_][\w.@-]*$/)
      }),
      { numRuns: 2000 },
    )
  }) // prettier-ignore
})

test('hostText() writes what parseHost() reads', () => {
  for (const text of ['local', 'host', 'me@host', 'me@host.example']) expect(hostText(parseHost(text).host)).toBe(text)
})

describe('parseSource()', () => {
  test.each([
    ['rootfs:./a:b', 'rootfs', './a:b'],
    ['tar:-', 'tar', '-'],
    ['oci-archive:a.tar:tag', 'oci-archive', 'a.tar:tag'],
    ['docker://debian:12', 'docker', 'debian:12'],
    ['docker-daemon:app:1', 'docker-daemon', 'app:1'],
  ])('reads %s', (text, kind, location) => {
    expect(parseSource(text)).toEqual({ kind, location })
    expect(sourceText(parseSource(text))).toBe(text)
  })

  test.each(['', 'rootfs', './rootfs', 'rootfs:', ':x', 'ftp:x', 'ROOTFS:x', 'docker:debian', 'docker://', 'rootfs:a\0b'])('refuses %j', (text) => {
    expect(() => parseSource(text)).toThrow(code('E_USAGE'))
  }) // prettier-ignore
})

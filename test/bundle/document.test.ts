// A config.json as a value: what is read is printed again to the last digit, and what no engine should be given is refused.
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { at, checkConfig, inline, parseObject, print, put, withoutBigints, type Json, type JsonObject } from '../../src/bundle/document.ts' // prettier-ignore

const parse = (text: string): JsonObject => parseObject(text, 'it')
const refused = expect.objectContaining({ code: 'E_CONFIG' })

describe('parseObject()', () => {
  test('keeps whole numbers that a double cannot hold', () => {
    const text = '{"a":18446744073709551615,"b":[-9223372036854775808,9007199254740993],"c":"18446744073709551615","d":1e20,"e":0.25,"f":{"1234567890123456":1234567890123456}}'
    expect(parse(text)).toMatchObject({ a: 18446744073709551615n, b: [-9223372036854775808n, 9007199254740993n], c: '18446744073709551615', f: { 1234567890123456: 1234567890123456n } })
    expect(JSON.parse(print(parse(text)))).toEqual(JSON.parse(text))
    for (const digits of ['18446744073709551615', '-9223372036854775808', '9007199254740993']) expect(print(parse(text))).toContain(digits)
    expect(inline(parse('{"a":18446744073709551615}'))).toBe('{"a":18446744073709551615}')
    expect(withoutBigints(parse('{"a":18446744073709551615}'))).toEqual({ a: '18446744073709551615' })
  }) // prettier-ignore

  test('reads any JSON as JSON.parse does, and prints it so', () => {
    const keys = fc.string().filter((key) => !key.includes('\0'))
    const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
      tree: fc.oneof({ maxDepth: 4 }, keys, fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constant(null), fc.array(tie('tree')), fc.dictionary(keys, tie('tree'))),
    }))
    fc.assert(
      fc.property(fc.dictionary(keys, tree), (value) => {
        const text = JSON.stringify(value)
        expect(JSON.parse(print(parse(text)))).toEqual(JSON.parse(text))
      }),
    )
    const digits = fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n })
    fc.assert(fc.property(digits, (number) => {
      expect(inline(parse(`{"x":[${number}]}`))).toBe(`{"x":[${number}]}`)
    }))
  }) // prettier-ignore

  test.each(['', '{', 'null', '1', '"x"', '[]', '{"a":"\\u0000"}', '{"\\u0000":1}', '{"a":1,}', "{'a':1}"])('refuses %s', (text) => {
    expect(() => parse(text)).toThrow(refused)
  }) // prettier-ignore

  test('takes no key for more than a name', () => {
    const value = parse('{"__proto__":{"polluted":1},"constructor":2}')
    expect(Object.keys(value)).toEqual(['__proto__', 'constructor'])
    expect(at({}, 'polluted')).toBeUndefined()
    expect(at(value, 'toString')).toBeUndefined()
    expect(print(put(value, ['a'], 1))).toContain('"__proto__"')
  })
})

describe('put()', () => {
  const value = { a: { b: 1, c: 2 }, d: 'x' }
  test.each<[string[], Json | undefined, JsonObject]>([
    [['d'], 'y', { a: { b: 1, c: 2 }, d: 'y' }],
    [['a', 'b'], 3, { a: { b: 3, c: 2 }, d: 'x' }],
    [['a', 'b'], undefined, { a: { c: 2 }, d: 'x' }],
    [['e', 'f'], 1, { ...value, e: { f: 1 } }],
    [['e', 'f'], undefined, value],
    [['d', 'f'], undefined, value],
  ])('%j becomes %j', (path, item, expected) => {
    const before = structuredClone(value)
    expect(put(value, path, item)).toEqual(expected)
    expect(value).toEqual(before)
  })
})

describe('checkConfig()', () => {
  const good = { ociVersion: '1.0.2', process: { args: ['/x'], cwd: '/' }, mounts: [{ destination: '/data/' }] }
  test('takes what engines take', () => {
    expect(() => checkConfig(good, 'it')).not.toThrow()
    for (const cwd of ['/procs', '/a/../b', '/proc/../b', '/a/proc'])
      expect(() => checkConfig(put(good, ['process', 'cwd'], cwd), 'it')).not.toThrow()
  })

  test.each<[string[], Json | undefined]>([
    [['ociVersion'], undefined], [['ociVersion'], 1], [['process'], undefined], [['process'], []], [['root'], 'fs'], [['root'], []],
    [['process', 'args'], undefined], [['process', 'args'], []], [['process', 'args'], ['']], [['process', 'args'], ['/x', 1]], [['process', 'args'], '/x'],
    [['process', 'env'], [1]], [['process', 'cwd'], undefined], [['process', 'cwd'], ''], [['process', 'cwd'], 'srv'],
    [['process', 'cwd'], '/proc/self/fd/7'], [['process', 'cwd'], '/proc'], [['process', 'cwd'], '//proc/1'], [['process', 'cwd'], '/x/../proc/1'], [['process', 'cwd'], '/./proc'],
    [['mounts'], [{}]], [['mounts'], [{ destination: 'data' }]], [['mounts'], [{ destination: '/data/../..' }]], [['mounts'], [{ destination: '/' }]], [['mounts'], [{ destination: '/./' }]],
  ])('refuses %j as %j', (path, item) => {
    expect(() => checkConfig(put(good, path, item), 'it')).toThrow(refused)
  }) // prettier-ignore
})

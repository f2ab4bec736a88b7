// parseReference and platforms: names as Docker completes them, and which machine runs what.
import { describe, expect, test } from 'vitest'
import { bestOf, distance, parsePlatform, platformText } from '../../src/image/platform.ts'
import { parseReference, referenceText } from '../../src/image/reference.ts'

const digest = `sha256:${'a'.repeat(64)}`

describe('parseReference() completes', () => {
  test.each([
    ['debian', 'docker.io/library/debian:latest'],
    ['debian:12', 'docker.io/library/debian:12'],
    ['team/app', 'docker.io/team/app:latest'],
    ['docker.io/debian', 'docker.io/library/debian:latest'],
    ['index.docker.io/debian', 'docker.io/library/debian:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/a/b/c:x', 'localhost:5000/a/b/c:x'],
    ['example.org/app', 'example.org/app:latest'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    [`debian@${digest}`, `docker.io/library/debian@${digest}`],
    [`example.org/a:1@${digest}`, `example.org/a:1@${digest}`],
  ])('%s', (text, expected) => expect(referenceText(parseReference(text))).toBe(expected))
  test.each(['', '/', 'a//b', 'A', 'a:', 'a@sha256:1', 'example.org/', '-a', 'a?b', 'a/../b', 'host:99999999/a', `a:${'x'.repeat(129)}`])(
    'not %j',
    (text) => expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'E_IMAGE' })),
  ) // prettier-ignore
})

describe('distance()', () => {
  test.each<[string, string, number | undefined]>([
    ['linux/amd64', 'linux/amd64', 0],
    ['linux/amd64', 'linux/amd64/v1', 0],
    ['linux/amd64', 'linux/amd64/v3', undefined],
    ['linux/amd64/v3', 'linux/amd64', 2],
    ['linux/amd64/v3', 'linux/amd64/v3', 0],
    ['linux/arm64', 'linux/arm64/v8', 0],
    ['linux/arm64/v9', 'linux/arm64', 1],
    ['linux/arm', 'linux/arm/v7', 0],
    ['linux/arm', 'linux/arm/v6', 1],
    ['linux/arm/v6', 'linux/arm/v7', undefined],
    ['linux/arm/v6', 'linux/arm/v5', 1],
    ['linux/arm64', 'linux/arm/v7', undefined],
    ['linux/amd64', 'windows/amd64', undefined],
    ['linux/riscv64', 'linux/riscv64', 0],
    ['linux/mips64le', 'linux/mips64le/hardfloat', 1],
    ['linux/arm64/odd', 'linux/arm64/odd', 0],
    ['linux/arm64', 'linux/arm64/odd', undefined],
  ])('from %s to %s', (wanted, offered, expected) => {
    expect(distance(parsePlatform(wanted), parsePlatform(offered))).toBe(expected)
  })
  test('decides what is best, the first of equals', () => {
    const offers = ['linux/arm/v5', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm'].map((text) => parsePlatform(text))
    const best = bestOf(offers, parsePlatform('linux/arm'), (offer) => offer)
    expect(best === undefined ? '' : platformText(best)).toBe('linux/arm/v7')
  })
  test.each(['', 'linux', 'linux/', 'linux/amd64/', 'Linux/amd64', 'linux/amd64/v1/x'])(
    'knows no platform %j',
    (text) => {
      expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: 'E_USAGE' }))
    },
  )
})

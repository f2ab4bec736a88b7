// openDecompressed: what each compression becomes, and what is refused of damaged and of bloated archives.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { deflateRawSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { defaultLimits, openDecompressed } from '../../src/tar/decompress.ts'
import { chunked, collect } from './raw-header.ts'

const text = Buffer.concat([randomBytes(300_000), Buffer.alloc(300_000, 'varve ')])

function through(input: Buffer, command: string): Buffer {
  return execFileSync('sh', ['-c', command], { input, maxBuffer: 1 << 28, stdio: ['pipe', 'pipe', 'inherit'] })
}
const gzip = (input: Buffer): Buffer => gzipSync(input)
const zstd = (input: Buffer, options = ''): Buffer => through(input, `zstd -q -c ${options}`)
const xz = (input: Buffer): Buffer => through(input, 'xz -0 -c')

async function unpack(packed: Buffer, more: { pieces?: number; limits?: typeof defaultLimits } = {}) {
  const warnings: string[] = []
  const { pieces = 50_000, limits } = more
  const { compression, chunks } = await openDecompressed(chunked(packed, pieces), {
    onWarning: ({ code }) => void warnings.push(code),
    ...(limits === undefined ? {} : { limits }),
  })
  return { compression, bytes: await collect(chunks), warnings }
}

describe('openDecompressed() yields', () => {
  const withHeader = Buffer.concat([
    Buffer.from('1f8b081e000000000003', 'hex'),
    Buffer.from([3, 0, 1, 2, 3]),
    Buffer.from('name\0comment\0\0\0', 'latin1'),
    deflateRawSync(text),
    gzipSync(text).subarray(-8),
  ])
  const frame = Buffer.from('502a4d1803000000aabbcc', 'hex')
  test.each<[string, Buffer, string, string[]]>([
    ['plain bytes', text, 'none', []],
    ['gzip', gzip(text), 'gzip', []],
    ['54 gzip of two members', Buffer.concat([gzip(text.subarray(0, 9)), gzip(text.subarray(9))]), 'gzip', []],
    ['gzip with all that a header may have', withHeader, 'gzip', []],
    ['53 gzip with junk behind', Buffer.concat([gzip(text), Buffer.from('junk')]), 'gzip', ['W_TRAILING']],
    ['gzip with zeros behind', Buffer.concat([gzip(text), Buffer.alloc(100_000)]), 'gzip', []],
    ['gzip with an empty member', Buffer.concat([gzip(Buffer.alloc(0)), gzip(text)]), 'gzip', []],
    ['zstd', zstd(text), 'zstd', []],
    ['54 zstd of two frames', Buffer.concat([zstd(text.subarray(0, 9)), zstd(text.subarray(9))]), 'zstd', []],
    ['zstd behind a skippable frame', Buffer.concat([frame, zstd(text)]), 'zstd', []],
    ['zstd with a window of 128 MiB', zstd(text, '--long=27'), 'zstd', []],
    ['xz', xz(text), 'xz', []],
    ['54 xz of two streams', Buffer.concat([xz(text.subarray(0, 9)), xz(text.subarray(9))]), 'xz', []],
  ])('%s', async (_, packed, compression, warnings) => {
    for (const pieces of [50_000, packed.length]) {
      const unpacked = await unpack(packed, { pieces })
      expect(unpacked.bytes.equals(text)).toBe(true)
      expect(unpacked).toMatchObject({ compression, warnings })
    }
  })
  test('what comes byte by byte', async () => {
    const short = text.subarray(0, 2000)
    for (const packed of [gzip(short), zstd(short), xz(short), short])
      expect((await unpack(packed, { pieces: 1 })).bytes.equals(short)).toBe(true)
  })
  test('nothing of nothing', async () => {
    expect(await unpack(Buffer.alloc(0))).toMatchObject({ compression: 'none', bytes: Buffer.alloc(0) })
  })
})

describe('openDecompressed() refuses', () => {
  for (const [name, pack] of Object.entries({ gzip, zstd, xz })) {
    test.each([1, 7, 9, 1000])(`${name} that is cut by %i bytes`, async (bytes) => {
      await expect(unpack(pack(text).subarray(0, -bytes))).rejects.toMatchObject({ code: 'E_COMPRESSION' })
    })
    test(`${name} with a bit turned`, async () => {
      const packed = name === 'zstd' ? zstd(text, '--check') : pack(text)
      packed[packed.length >> 1]! ^= 0x10
      await expect(unpack(packed)).rejects.toMatchObject({ code: 'E_COMPRESSION' })
    })
    test(`${name} that is only its magic`, async () => {
      await expect(unpack(pack(text).subarray(0, 6))).rejects.toMatchObject({ code: 'E_COMPRESSION' })
    })
    test(`51 a bomb of ${name}`, async () => {
      const bomb = through(Buffer.alloc(0), `head -c 400M /dev/zero | ${name} ${name === 'gzip' ? '-9' : '-1'} -c`)
      const limits = { ...defaultLimits, ratio: 500 }
      const started = performance.now()
      await expect(unpack(bomb, { limits })).rejects.toMatchObject({ code: 'E_LIMIT_RATIO' })
      expect(performance.now() - started).toBeLessThan(10_000)
    })
    test(`${name} of more bytes than allowed`, async () => {
      await expect(unpack(pack(text), { limits: { ...defaultLimits, bytes: 500_000 } })).rejects.toMatchObject({
        code: 'E_LIMIT_BYTES',
      })
    })
  }
  test('51 two gigabytes in 61 kB of zstd, in little memory', async () => {
    const bomb = through(Buffer.alloc(0), 'head -c 2G /dev/zero | zstd -c')
    const { chunks } = await openDecompressed(chunked(bomb, 1 << 20), { onWarning: () => {} })
    const before = process.memoryUsage.rss()
    let bytes = 0
    const read = async (): Promise<void> => {
      for await (const chunk of chunks) bytes += chunk.length
    }
    await expect(read()).rejects.toMatchObject({ code: 'E_LIMIT_RATIO' })
    expect(bytes).toBeLessThan(300_000_000)
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 << 20)
  })
  test('52 a zstd window of 2 GiB', async () => {
    const packed = through(Buffer.alloc(0), 'head -c 300M /dev/zero | zstd -c --ultra --long=31')
    await expect(unpack(packed)).rejects.toMatchObject({ code: 'E_ZSTD_WINDOW' })
  })
  test('bytes behind zstd and xz', async () => {
    for (const pack of [zstd, xz])
      await expect(unpack(Buffer.concat([pack(text), Buffer.from('junk!')]))).rejects.toMatchObject({
        code: 'E_COMPRESSION',
      })
  })
  test('what its input refuses', async () => {
    for (const pack of [gzip, zstd, xz]) {
      const input = async function* (): AsyncGenerator<Uint8Array> {
        yield await Promise.resolve(pack(text).subarray(0, 10_000))
        throw new Error('disk on fire')
      }
      const { chunks } = await openDecompressed(input(), { onWarning: () => {} })
      await expect(collect(chunks)).rejects.toThrow('disk on fire')
    }
  })
})

test('openDecompressed() lets go of its input and its command when nobody reads on', async () => {
  for (const pack of [gzip, zstd, xz]) {
    let released = false
    const input = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield* chunked(pack(text))
      } finally {
        released = true
      }
    }
    const { chunks } = await openDecompressed(input(), { onWarning: () => {} })
    for await (const _ of chunks) break
    await expect.poll(() => released).toBe(true)
  }
})

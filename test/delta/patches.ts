// Patches as a host gets them: laid out in a store as receive does, and pairs of files to make them of.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { array, integer, nat, record, tuple } from 'fast-check'
import type { Blocks } from '../../src/delta/blocks.ts'
import { STREAMS, type Patch } from '../../src/delta/streams.ts'

export const TREE = 'a'.repeat(64)

export type Said = {
  readonly old: Uint8Array
  readonly now: Uint8Array
  readonly patch: Patch
  readonly words?: string
}

/** A store in which `patched` finds all that it needs. */
export function layOut(store: string, files: readonly Said[]): void {
  rmSync(store, { recursive: true, force: true })
  for (const path of [`tree/${TREE}/root`, 'stage/p', 'stage/c', 'tx'])
    mkdirSync(join(store, path), { recursive: true })
  const list: string[] = []
  for (const [i, { old, now, patch, words }] of files.entries()) {
    writeFileSync(join(store, `tree/${TREE}/root/f${i}`), old)
    const sizes = [now.length, ...STREAMS.map((name) => patch[name].length)]
    const loaded = patch.segments.map((all) => all.map(({ offset, address, size }) => `${offset}:${address}:${size}`).join(',')) // prettier-ignore
    list.push(words ?? `tree/${TREE}/root/f${i}\0deep/er/${i}\nx\0${[...sizes, ...loaded].join(' ').trim()}\0`)
  }
  writeFileSync(join(store, 'stage/p/list'), list.join(''))
  for (const name of STREAMS)
    writeFileSync(join(store, `stage/p/${name}`), Buffer.concat(files.map(({ patch }) => patch[name])))
}

export function madeIn(store: string, files: readonly Said[]): Buffer[] {
  return files.map((_, i) => {
    const path = join(store, `stage/c/deep/er/${i}\nx`)
    return existsSync(path) ? readFileSync(path) : Buffer.from('none')
  })
}

/** Bytes that look the same at each run and have no pattern. */
export function noise(size: number, seed: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(size / 32) }, (_, i) =>
    createHash('sha256').update(`${seed} ${i}`).digest(),
  )
  return Buffer.concat(blocks).subarray(0, size)
}

/** Something like a program that was built again: pieces inserted and taken out, words shifted all over. */
export const rebuilt = record({
  size: integer({ min: 0, max: 20_000 }),
  seed: integer({ min: 0, max: 1e6 }),
  shifts: array(tuple(nat(20_000), integer({ min: 1, max: 0xffffffff })), { maxLength: 200 }),
  cuts: array(tuple(nat(20_000), nat(300), nat(300)), { maxLength: 8 }),
}).map(({ size, seed, shifts, cuts }) => {
  const old = noise(size, seed)
  let now = Buffer.from(old)
  for (const [at, by] of shifts) if (at + 4 <= size) now.writeUInt32LE((now.readUInt32LE(at) + by) % 2 ** 32, at)
  for (const [at, gone, more] of cuts)
    now = Buffer.concat([now.subarray(0, at), noise(more, at), now.subarray(Math.min(now.length, at + gone))])
  return { old, now }
})

/** The new file, by reading the streams of a patch without differences. */
export function undone(old: Uint8Array, { ops, gaps, literals }: Patch): Buffer {
  if (gaps.length > 0) throw new Error('a copy has differences')
  const numbers: number[] = []
  let value = 0
  for (const byte of ops) {
    value = value * 128 + (byte & 127)
    if (byte < 128) {
      numbers.push(value)
      value = 0
    }
  }
  const count = numbers.length / 4
  const pieces: Uint8Array[] = []
  let [place, taken] = [0, 0]
  for (let i = 0; i < count; i++) {
    const [literal = 0, length = 0, seek = 0] = [0, 1, 2].map((column) => numbers[column * count + i])
    place += seek % 2 === 0 ? seek / 2 : -(seek + 1) / 2
    pieces.push(literals.subarray(taken, (taken += literal)), old.subarray(place, (place += length)))
  }
  return Buffer.concat([...pieces, literals.subarray(taken)])
}

/** What a host says of a file, reckoned as exactly as can be. */
export function signatureOf(old: Uint8Array, { block, width }: Blocks): Buffer {
  const signatures: Buffer[] = []
  for (let at = 0; at < old.length; at += block) {
    const bytes = Buffer.alloc(Math.ceil(Math.min(block, old.length - at) / 16) * 16)
    bytes.set(old.subarray(at, at + block))
    let [hash, sum] = [0n, 0n]
    for (let i = 0; i < bytes.length; i += 16) {
      const [a, b, c, d] = [0, 4, 8, 12].map((k) => BigInt(bytes.readUInt32LE(i + k))) as [bigint, bigint, bigint, bigint] // prettier-ignore
      hash = (hash * 69_069n + a + 27_073n * b + 51_157n * c + 90_373n * d) % 16_777_213n
      sum += a + b + c + d
    }
    const signature = Buffer.alloc(7)
    signature.writeUIntBE(Number(hash), 0, 3)
    signature.writeUInt32BE(Number((sum * 40_503n) % 2n ** 32n), 3)
    signatures.push(signature.subarray(0, width))
  }
  return Buffer.concat(signatures)
}

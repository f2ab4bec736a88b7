// The two hashes: XXH64 as a fast hint that a file changed, SHA-256 as the identity of contents and trees.
import { createHash } from 'node:crypto'
import xxhash from 'xxhash-wasm'
import { encodeManifest } from '../model/manifest.ts'
import type { Tree } from '../model/tree.ts'

/** XXH64 (https://xxhash.com), seed 0. It can be forged at will: never an identity. */
export type Hasher = {
  readonly xxh64: (bytes: Uint8Array) => bigint
  readonly stream: () => { update(bytes: Uint8Array | string): void; digest(): bigint }
}

export async function makeHasher(): Promise<Hasher> {
  const wasm = await xxhash()
  return {
    xxh64: (bytes) => wasm.h64Raw(bytes),
    stream: () => {
      const state = wasm.create64()
      return { update: (bytes) => void state.update(bytes), digest: () => state.digest() }
    },
  }
}

/** The id of a tree: the SHA-256 of its canonical manifest, 64 lower-case hexadecimal digits. */
export function treeId(tree: Tree): string {
  const hash = createHash('sha256')
  for (const piece of encodeManifest(tree)) hash.update(piece, 'latin1')
  return hash.digest('hex')
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

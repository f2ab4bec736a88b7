// What was learnt of a directory when it was last read, so that what did not change is not read again.
import type { ByteString } from './bytes.ts'

/** Stat facts of a regular file and what its contents were then. Times are nanoseconds. */
export type FileFact = {
  readonly dev: number
  readonly ino: bigint
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly xxh64: bigint
  readonly sha256: string
}

/** One reading of a directory: the digest of all its stat facts, the tree that it was, the facts file by file. */
export type Reading = {
  readonly digest: bigint
  readonly tree: string
  readonly facts: () => ReadonlyMap<ByteString, FileFact>
}

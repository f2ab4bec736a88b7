// The one door to zstd: a streaming compressor at a level that the amount of contents decides.
import zstd from 'zstd-napi'
import type { Transform } from 'node:stream'

/** Small deltas get all the effort; large ones the level after which time grows much faster than bytes shrink. */
export function zstdCompressor(bytes: number): Transform {
  if (bytes <= 8 << 20) return new zstd.CompressStream({ compressionLevel: 19 })
  return new zstd.CompressStream({ compressionLevel: 9, nbWorkers: 2 })
}

// The one door to zstd: a streaming compressor, and frames that are decoded with other bytes before them.
import zstd from 'zstd-napi'
import type { Transform } from 'node:stream'

/** Small deltas get all the effort; large ones the level after which time grows much faster than bytes shrink. */
export function zstdCompressor(bytes: number): Transform {
  if (bytes <= SMALL) return new zstd.CompressStream({ compressionLevel: 19 })
  return new zstd.CompressStream({ compressionLevel: 9, nbWorkers: 2 })
}

const SMALL = 8 << 20
const compressor = new zstd.Compressor()

/** A quick measure of how small it gets. */
export function packed(bytes: Uint8Array): Buffer {
  compressor.setParameters({ compressionLevel: 5 })
  return compressor.compress(bytes)
}

/**
 * A frame that `zstd -d --patch-from` decodes with a file of the bytes before it. zstd's own choice of tables is for
 * dictionaries of some kilobytes: they are made as large as what they are to find.
 */
export function packedAfter(before: Uint8Array, bytes: Uint8Array, level = effortFor(bytes.length)): Buffer {
  const log = (size: number): number => Math.ceil(Math.log2(size + 1))
  const tables = Math.max(10, Math.min(24, log(before.length)))
  compressor.setParameters({
    compressionLevel: level,
    windowLog: Math.max(10, Math.min(31, log(before.length + bytes.length))),
    hashLog: tables,
    chainLog: tables + 1,
    checksumFlag: true,
  })
  compressor.loadDictionary(before)
  return compressor.compress(bytes)
}

function effortFor(bytes: number): number {
  return bytes <= SMALL ? 19 : 9
}

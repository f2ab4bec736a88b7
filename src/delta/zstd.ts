// The one door to zstd: frames, and frames that are decoded with other bytes before them.
import zstd from 'zstd-napi'

const compressor = new zstd.Compressor()

export function packed(bytes: Uint8Array, level: number): Buffer {
  compressor.setParameters({ compressionLevel: level })
  return compressor.compress(bytes)
}

/**
 * A frame that `zstd -d --patch-from` decodes with a file of the bytes before it. zstd's own choice of tables is for
 * dictionaries of some kilobytes: they are made as large as what they are to find.
 */
export function packedAfter(before: Uint8Array, bytes: Uint8Array, level: number): Buffer {
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

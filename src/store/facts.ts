// Packs the stat facts of a directory's files into one blob and back: 80 bytes and the path for each.
import { byteString, type ByteString } from '../model/bytes.ts'
import type { FileFact } from '../model/facts.ts'

const FIXED = 82

export function packFacts(facts: ReadonlyMap<ByteString, FileFact>): Buffer {
  let length = 0
  for (const path of facts.keys()) length += FIXED + path.length
  const blob = Buffer.allocUnsafe(length)
  let at = 0
  for (const [path, fact] of facts) {
    at = blob.writeUInt16LE(path.length, at)
    at = blob.writeBigUInt64LE(BigInt(fact.dev), at)
    at = blob.writeBigUInt64LE(BigInt.asUintN(64, fact.ino), at)
    at = blob.writeBigInt64LE(BigInt(fact.size), at)
    at = blob.writeBigInt64LE(fact.mtimeNs, at)
    at = blob.writeBigInt64LE(fact.ctimeNs, at)
    at = blob.writeBigUInt64LE(fact.xxh64, at)
    at += blob.write(fact.sha256, at, 32, 'hex')
    at += blob.write(path, at, path.length, 'latin1')
  }
  return blob
}

export function unpackFacts(blob: Buffer): Map<ByteString, FileFact> {
  const facts = new Map<ByteString, FileFact>()
  for (let at = 0; at + FIXED <= blob.length;) {
    const pathAt = at + FIXED
    const end = pathAt + blob.readUInt16LE(at)
    facts.set(byteString(blob.toString('latin1', pathAt, end)), {
      dev: Number(blob.readBigUInt64LE(at + 2)),
      ino: blob.readBigUInt64LE(at + 10),
      size: Number(blob.readBigInt64LE(at + 18)),
      mtimeNs: blob.readBigInt64LE(at + 26),
      ctimeNs: blob.readBigInt64LE(at + 34),
      xxh64: blob.readBigUInt64LE(at + 42),
      sha256: blob.toString('hex', at + 50, pathAt),
    })
    at = end
  }
  return facts
}

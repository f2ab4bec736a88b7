// Reads an archive into a tree: names normalised, links resolved, every file hashed, nothing left that could escape.
import { createHash } from 'node:crypto'
import type { ByteString } from '../model/bytes.ts'
import { makeTree, type Tree } from '../model/tree.ts'
import { readTar, type TarMember, type TarWarning } from './read.ts'
import { defaultLimits, type Limits } from './decompress.ts'
import {
  emptyMerge,
  finishMerge,
  makeRoom,
  putFile,
  putLink,
  putSpecial,
  type Merge,
  type TarContents,
} from './merge.ts'
import { memberMetadata, memberPath, noNotes, specialEntry, warningsOf, type Notes } from './metadata.ts'

export type TarTree = {
  readonly tree: Tree
  /** Where the contents of each file are in the uncompressed archive, by every name that it has. */
  readonly contents: ReadonlyMap<ByteString, TarContents>
  readonly warnings: readonly TarWarning[]
}

export type ReadTarTreeOptions = {
  readonly limits?: Limits
  /** For messages: `"x.tar"`, by default "the archive". */
  readonly archive?: string
}

/** Throws the codes of readTar, and E_PATH_*, E_PARENT_NOT_DIR, E_DUP_TYPE, E_HARDLINK, E_DEVICE, E_OWNER, E_XATTR_SIZE, E_CAP. */
export async function readTarTree(
  chunks: AsyncIterable<Uint8Array>,
  options: ReadTarTreeOptions = {},
): Promise<TarTree> {
  const limits = options.limits ?? defaultLimits
  const archive = options.archive ?? 'the archive'
  const warnings: TarWarning[] = []
  const onWarning = (warning: TarWarning): void => void warnings.push(warning)
  const notes = noNotes()
  const merge = emptyMerge(limits.entries)
  for await (const { member, contents } of readTar(chunks, { limits, archive, onWarning }))
    await putMember(merge, { member, path: memberPath(member, notes), contents }, notes)
  const { entries, contents } = finishMerge(merge)
  return { tree: makeTree(entries), contents, warnings: [...warnings, ...warningsOf(notes, merge.implied)] }
}

/** Lays one member over those before it. Reads and hashes the contents of a file. */
export async function putMember(
  merge: Merge,
  read: { readonly member: TarMember; readonly path: ByteString; readonly contents: AsyncIterable<Uint8Array> },
  notes: Notes,
): Promise<void> {
  const { member, path } = read
  if (member.kind === 'hardlink') {
    putLink(merge, path, member.linkname)
    return
  }
  makeRoom(merge, path, member.kind)
  const metadata = memberMetadata(member, path, notes)
  if (member.kind !== 'file') putSpecial(merge, specialEntry(member, path, metadata))
  else {
    const { size } = member
    putFile(merge, path, { metadata, size, sha256: await sha256(read.contents), contents: contentsOf(member) })
  }
}

async function sha256(contents: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of contents) hash.update(chunk)
  return hash.digest('hex')
}

function contentsOf({ offset, size, sparse }: TarMember): TarContents {
  return sparse === undefined ? { offset, size } : { offset, size, sparse }
}

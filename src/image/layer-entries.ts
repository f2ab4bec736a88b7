// Reads the archive of one layer: entries as in any other, and the names that hide what is below.
import { VarveError } from '../errors.ts'
import { byteString, printable, type ByteString } from '../model/bytes.ts'
import { parentOf } from '../model/entry.ts'
import type { RawLayer } from '../model/layer.ts'
import { makeTree } from '../model/tree.ts'
import { defaultLimits, type Limits } from '../tar/decompress.ts'
import { emptyMerge, finishMerge, makeParents, type Merge, type TarContents } from '../tar/merge.ts'
import { memberPath, noNotes, warningsOf } from '../tar/metadata.ts'
import { readTar, type TarMember, type TarWarning } from '../tar/read.ts'
import { putMember } from '../tar/tree.ts'

export type LayerEntries = RawLayer & {
  /** Where the contents of each file are in the uncompressed archive, by every name that it has in this layer. */
  readonly contents: ReadonlyMap<ByteString, TarContents>
  readonly warnings: readonly TarWarning[]
}

/** https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#whiteouts */
const PREFIX = '.wh.'
const OPAQUE = '.wh..wh..opq'
const ROOT = byteString('')

/**
 * Reads to the end, so that a layer's digests are checked before this returns. Throws the codes of readTarTree,
 * E_WHITEOUT, and E_WHITEOUT_DEV for what says in overlayfs's own words that it hides something.
 */
export async function layerEntries(
  chunks: AsyncIterable<Uint8Array>,
  options: { readonly limits?: Limits; readonly archive?: string } = {},
): Promise<LayerEntries> {
  const limits = options.limits ?? defaultLimits
  const archive = options.archive ?? 'the layer'
  const warnings: TarWarning[] = []
  const onWarning = (warning: TarWarning): void => void warnings.push(warning)
  const notes = noNotes()
  const merge = emptyMerge(limits.entries)
  const hidden = { whiteouts: new Set<ByteString>(), opaque: new Set<ByteString>() }
  for await (const { member, contents } of readTar(chunks, { limits, archive, onWarning, mayEndUnpadded: true })) {
    const path = memberPath(member, notes)
    refuseForged(member, path)
    if (isHiding(path)) putHiding(merge, { member, path }, hidden)
    else await putMember(merge, { member, path, contents }, notes)
  }
  const implied = new Set(merge.implied)
  if (!merge.nodes.has(ROOT)) implied.add(ROOT)
  const { entries, contents, links } = finishMerge(merge, true)
  warnings.push(...warningsOf(notes, new Set()))
  return { tree: makeTree(entries), implied, ...hidden, links, contents, warnings }
}

function isHiding(path: ByteString): boolean {
  return path.startsWith(PREFIX) || path.includes(`/${PREFIX}`)
}

/** What is beneath or behind such a name is of no layer that a tool makes, and readers disagree about it. */
function putHiding(
  merge: Merge,
  { member, path }: { readonly member: TarMember; readonly path: ByteString },
  hidden: { readonly whiteouts: Set<ByteString>; readonly opaque: Set<ByteString> },
): void {
  const directory = parentOf(path)
  const name = path.slice(directory === '' ? 0 : directory.length + 1)
  if (isHiding(directory)) throw refused(path, 'it is beneath a whiteout')
  // a hard link is what tar makes of whiteouts that share an inode
  if (!(member.kind === 'file' && member.size === 0) && member.kind !== 'hardlink')
    throw refused(path, `a whiteout is an empty file, and this is a ${member.kind} of ${member.size} bytes`)
  makeParents(merge, path)
  if (name === OPAQUE) hidden.opaque.add(directory)
  else {
    const target = name.slice(PREFIX.length)
    if (target === '' || target === '.' || target === '..' || target.startsWith(PREFIX))
      throw refused(path, 'it names nothing that a layer can hide')
    hidden.whiteouts.add(byteString(directory === '' ? target : `${directory}/${target}`))
  }
}

function refuseForged(member: TarMember, path: ByteString): void {
  const forged = member.xattrs.find(({ name }) => name.startsWith('trusted.overlay.'))
  if (forged !== undefined)
    throw new VarveError(
      'E_WHITEOUT_DEV',
      `cannot use "${printable(path)}": its attribute "${printable(forged.name)}" would act on an overlay mount`,
      { hint: 'make the image again with a tool that writes whiteouts as the image specification has them' },
    )
}

function refused(path: ByteString, why: string): VarveError {
  return new VarveError('E_WHITEOUT', `cannot use the whiteout "${printable(path)}": ${why}`)
}

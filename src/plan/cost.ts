// What a push is so large for: which packages and which files are sent.
import type { ByteString } from '../model/bytes.ts'
import type { FileEntry } from '../model/entry.ts'
import type { Plan } from '../model/plan.ts'
import type { Package } from './packages.ts'

export type PackageCost = {
  /** Undefined for what no package owns. */
  readonly owner: Package | undefined
  /** Files whose contents are sent. */
  readonly files: number
  /** Of contents, before they are compressed. */
  readonly bytes: number
}

export type FileCost = { readonly file: FileEntry; readonly tree: string; readonly owner: Package | undefined }

/** Both largest first. The bytes of the packages, and of the files, are what the plans send. */
export function costOf(
  plans: readonly Plan[],
  owners: ReadonlyMap<ByteString, Package>,
): { readonly packages: PackageCost[]; readonly files: FileCost[] } {
  const files = plans.flatMap(({ steps, tree }) =>
    steps.flatMap((step): FileCost[] =>
      step.kind === 'send' ? [{ file: step.entry, tree, owner: owners.get(step.entry.path) }] : [],
    ),
  )
  const packages = new Map<string | undefined, { owner: Package | undefined; files: number; bytes: number }>()
  for (const { file, owner } of files) {
    const sum = packages.get(owner?.name) ?? { owner, files: 0, bytes: 0 }
    packages.set(owner?.name, { owner, files: sum.files + 1, bytes: sum.bytes + file.size })
  }
  return {
    packages: [...packages.values()].toSorted(
      (a, b) => b.bytes - a.bytes || b.files - a.files || order(a.owner?.name ?? '', b.owner?.name ?? ''),
    ),
    files: files.toSorted((a, b) => b.file.size - a.file.size || order(a.file.path, b.file.path)),
  }
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

// What a host's store takes on disk and what runs there, read from the records of the verb usage.
import { parseContainerName } from '../model/names.ts'
import type { Held, TreeUsage, Usage } from '../model/usage.ts'
import { misread, number, treeIdOf, type Words } from './replies.ts'

export type Used = Usage & {
  /** What a container sees of a generation's stack, where its push has told: by `NAME NUMBER`. */
  readonly seen: ReadonlyMap<string, { readonly entries: number; readonly bytes: number }>
  /** Generations that some process has as its root, by container. */
  readonly running: ReadonlyMap<string, readonly number[]>
}

/** Throws E_PROTO for a record that is not of the grammar. */
export function readUsage(records: readonly Words[]): Used {
  const trees: TreeUsage[] = []
  const held: Held[] = []
  const own = new Map<string, { writable: number; bundles: number }>()
  const seen = new Map<string, { entries: number; bytes: number }>()
  const running = new Map<string, number[]>()
  let otherBytes = 0
  for (const [kind, ...words] of records) {
    if (kind === 'tree') trees.push(treeUsage(words, trees.length + 1))
    else if (kind === 'held') held.push(heldBy(words, { trees: trees.length, sets: held.length }))
    else if (kind === 'own')
      own.set(parseContainerName(words[0] ?? ''), { writable: number(words[1]), bundles: number(words[2]) })
    else if (kind === 'seen')
      seen.set(`${parseContainerName(words[0] ?? '')} ${number(words[1])}`, {
        entries: number(words[2]),
        bytes: number(words[3]),
      })
    else if (kind === 'running') {
      const name = parseContainerName(words[0] ?? '')
      running.set(
        name,
        [...(running.get(name) ?? []), number(words[1])].toSorted((a, b) => a - b),
      )
    } else if (kind === 'other') otherBytes = number(words[0])
    else throw misread('it has a record of an unknown kind')
  }
  return { trees, held, own, seen, running, otherBytes }
}

/** POSITION ID|- ENTRIES CONTENTS DISK */
function treeUsage([position, id, entries, contents, disk]: Words, next: number): TreeUsage {
  if (number(position) !== next) throw misread('its trees are not in order')
  return {
    id: id === '-' ? undefined : treeIdOf(id),
    entries: number(entries),
    contentBytes: number(contents),
    diskBytes: number(disk),
  }
}

/** SET PARENT TREE BYTES */
function heldBy([set, parent, tree, bytes]: Words, { trees, sets }: { trees: number; sets: number }): Held {
  const one = { parent: number(parent), tree: number(tree), diskBytes: number(bytes) }
  if (number(set) !== sets + 1 || one.parent > sets || one.tree < 1 || one.tree > trees)
    throw misread('its sets of trees are not in order')
  return one
}

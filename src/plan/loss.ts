// What a host's tools cannot restore of a tree: refused by name, or left out where the user said so.
import { VarveError } from '../errors.ts'
import { printable } from '../model/bytes.ts'
import type { Entry, Metadata } from '../model/entry.ts'
import { makeTree, type Tree } from '../model/tree.ts'

/** Kinds of metadata that may be given up by name: `--allow-loss xattrs,mtimes`. */
export const LOSSES = ['xattrs', 'mtimes'] as const
export type Loss = (typeof LOSSES)[number]

/** BusyBox tar reads no PAX, so tar-stream's six octal digits bound an owner there. */
const LARGEST_OWNER = 0o777777
const SECOND = 1_000_000_000n

/** The tree that arrives on a host with BusyBox tar. Throws E_LOSS naming the paths that would lose what was not allowed. */
export function withoutLosses(tree: Tree, allowed: ReadonlySet<Loss>): Tree {
  refuse(tree, 'owners above 262143', (entry) => entry.uid > LARGEST_OWNER || entry.gid > LARGEST_OWNER, undefined)
  if (!allowed.has('xattrs')) refuse(tree, 'extended attributes', (entry) => entry.xattrs.length > 0, 'xattrs')
  if (!allowed.has('mtimes'))
    refuse(
      tree,
      'modification times that are no whole seconds after 1970',
      (entry) => wholeSeconds(entry) !== entry.mtimeNs,
      'mtimes',
    )
  return makeTree(tree.entries.map((entry) => ({ ...entry, mtimeNs: wholeSeconds(entry), xattrs: [] })))
}

function wholeSeconds(entry: Metadata): bigint {
  if (entry.mtimeNs < 0n) return 0n
  const whole = entry.mtimeNs - (entry.mtimeNs % SECOND)
  return whole > 0x7fffffffn * SECOND ? 0x7fffffffn * SECOND : whole
}

function refuse(tree: Tree, what: string, loses: (entry: Entry) => boolean, loss: Loss | undefined): void {
  const lost = tree.entries.filter(loses)
  if (lost.length === 0) return
  const shown = lost.slice(0, 5).map((entry) => `"${printable(entry.path === '' ? '.' : entry.path)}"`)
  const more = lost.length > shown.length ? ` and ${lost.length - shown.length} more` : ''
  throw new VarveError(
    'E_LOSS',
    `cannot restore ${what} on the host, whose tar is BusyBox's: ${shown.join(', ')}${more}`,
    {
      hint:
        loss === undefined
          ? 'install GNU tar on the host'
          : `install GNU tar on the host, or give them up with --allow-loss ${loss}`,
    },
  )
}

// The policy for device nodes: those that every container has pass, others only where the user said so.
import { VarveError } from '../errors.ts'
import { printable } from '../model/bytes.ts'
import type { NodeEntry } from '../model/entry.ts'
import type { Tree } from '../model/tree.ts'

/** null, zero, full, random, urandom, tty, console, ptmx: https://www.kernel.org/doc/Documentation/admin-guide/devices.txt */
const HARMLESS = new Set(['1:3', '1:5', '1:7', '1:8', '1:9', '5:0', '5:1', '5:2'])

/** Throws E_DEVICE naming the nodes, or E_WHITEOUT_DEV for a character device 0:0, which overlayfs takes for a whiteout. */
export function checkDevices(tree: Tree, allowAll: boolean): void {
  const nodes = tree.entries.filter((entry): entry is NodeEntry => entry.kind === 'char' || entry.kind === 'block')
  const whiteout = nodes.find((node) => node.kind === 'char' && node.major === 0 && node.minor === 0)
  if (whiteout !== undefined)
    throw new VarveError(
      'E_WHITEOUT_DEV',
      `cannot ship "${printable(whiteout.path)}": a character device 0:0 is a whiteout to overlayfs`,
      { hint: 'remove it from the source' },
    )
  const refused = nodes.filter((node) => node.kind === 'block' || !HARMLESS.has(`${node.major}:${node.minor}`))
  if (allowAll || refused.length === 0) return
  const shown = refused
    .slice(0, 5)
    .map((node) => `"${printable(node.path)}" (${node.kind} ${node.major}:${node.minor})`)
  throw new VarveError(
    'E_DEVICE',
    `cannot ship ${shown.join(', ')}${refused.length > 5 ? ` and ${refused.length - 5} more` : ''}: device nodes that reach hardware`,
    {
      hint: 'remove them from the source, or push with --allow-devices',
    },
  )
}

// verify: the host re-hashes what its containers stand on; what differs is named path by path.
import { treeIdOf, number } from '../host/replies.ts'
import { byteString, printable } from '../model/bytes.ts'
import type { Entry } from '../model/entry.ts'
import { decodeManifest } from '../model/manifest.ts'
import { hostText, parseContainerName, type ContainerName, type HostRef } from '../model/names.ts'
import type { Tree } from '../model/tree.ts'
import { sha256 } from '../store/hash.ts'
import { VarveError, hasCode } from '../errors.ts'
import { connect, type Connected, type Context } from './context.ts'
import { manifestText } from './host-trees.ts'

export type Verified = {
  readonly container: string
  readonly generation: number
  readonly current: boolean
  readonly tree: string
  readonly state: 'good' | 'bad' | 'missing'
  /** What differs from the manifest: "changed PATH", "added PATH" or "missing PATH", printable. */
  readonly differences: readonly string[]
  readonly repaired: boolean
}

export async function verify(
  at: { host: HostRef; container: ContainerName | undefined; repair: boolean },
  context: Context,
): Promise<{ host: string; containers: Verified[] }> {
  await using connected = await connect(at.host, context)
  const { records } = await connected.session.ask(['verify', at.container ?? '-'])
  if (at.container !== undefined && records.length === 0)
    throw new VarveError(
      'E_NO_CONTAINER',
      `cannot verify "${at.container}": ${hostText(at.host)} has no such container`,
      { hint: `varve status ${hostText(at.host)}` },
    )
  const containers: Verified[] = []
  const done = new Map<string, Pick<Verified, 'differences' | 'repaired'>>()
  for (const [, name = '', generation, role, id, state] of records) {
    const tree = treeIdOf(id)
    const known = done.get(tree) ?? {
      differences: state === 'bad' ? await differences(connected, tree) : [],
      repaired: state === 'bad' && at.repair ? await setAside(connected, tree) : false,
    }
    done.set(tree, known)
    containers.push({
      container: parseContainerName(name),
      generation: number(generation),
      current: role === 'current',
      tree,
      state: state === 'good' ? 'good' : state === 'bad' ? 'bad' : 'missing',
      ...known,
    })
  }
  return { host: hostText(at.host), containers }
}

async function setAside(connected: Connected, tree: string): Promise<boolean> {
  await connected.session.ask(['repair', tree])
  return true
}

async function differences(connected: Connected, tree: string): Promise<string[]> {
  const stored = await manifestText(connected, [tree])
  const actual = await manifestText(connected, [tree, 'actual'])
  if (sha256(stored) !== tree) return ['the manifest on the host is damaged too']
  try {
    return compare(decoded(stored).entries, decoded(actual).entries)
  } catch (error) {
    if (hasCode(error, 'E_MANIFEST') || error instanceof VarveError) return ['the tree is no root filesystem any more']
    throw error
  }
}

function decoded(manifest: Buffer): Tree {
  return decodeManifest(byteString(manifest.toString('latin1')))
}

function compare(expected: readonly Entry[], actual: readonly Entry[]): string[] {
  const found = new Map(actual.map((entry) => [entry.path, entry]))
  const out: string[] = []
  for (const entry of expected) {
    const now = found.get(entry.path)
    found.delete(entry.path)
    if (now === undefined) out.push(`missing ${printable(entry.path)}`)
    else if (text(now) !== text(entry)) out.push(`changed ${printable(entry.path === '' ? '.' : entry.path)}`)
  }
  for (const path of found.keys()) out.push(`added ${printable(path)}`)
  return out
}

function text(entry: Entry): string {
  return JSON.stringify(entry, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))
}

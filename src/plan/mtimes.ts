// Policies for modification times, so that a rebuild of the same contents is the same tree.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { isWhiteout } from '../model/layer.ts'
import type { Tree } from '../model/tree.ts'

/** `keep` is exact; `clamp` brings times after `epochNs` (nanoseconds since 1970) down to it; `zero` makes all 1970. */
export type MtimePolicy = { readonly kind: 'keep' | 'zero' } | { readonly kind: 'clamp'; readonly epochNs: bigint }

const SECOND = 1_000_000_000n

/**
 * Reads keep, zero, clamp=EPOCH in seconds since 1970, or clamp, for which `sourceDateEpoch` stands
 * (https://reproducible-builds.org/specs/source-date-epoch/). Throws E_USAGE.
 */
export function parseMtimePolicy(text: string, sourceDateEpoch: string | undefined): MtimePolicy {
  if (text === 'keep' || text === 'zero') return { kind: text }
  const epoch = text === 'clamp' ? sourceDateEpoch : /^clamp=(.*)$/s.exec(text)?.[1]
  if (text === 'clamp' && epoch === undefined)
    throw new VarveError('E_USAGE', 'cannot clamp times: SOURCE_DATE_EPOCH is not set', {
      hint: 'write for example --mtime clamp=1700000000',
    })
  if (epoch === undefined || !/^[0-9]{1,11}$/.test(epoch))
    throw new VarveError(
      'E_USAGE',
      `cannot use "${escapeControls((epoch === undefined ? text : epoch).slice(0, 80))}" ${epoch === undefined ? 'as a policy for times: it is none of keep, zero, clamp=EPOCH' : 'as an epoch: it is no number of seconds since 1970'}`,
      { hint: 'write for example --mtime clamp=1700000000' },
    )
  return { kind: 'clamp', epochNs: BigInt(epoch) * SECOND }
}

/** The tree with its times as the policy has them; the tree itself where nothing changes. */
export function withMtimes(tree: Tree, policy: MtimePolicy): Tree {
  if (policy.kind === 'keep') return tree
  const limit = policy.kind === 'clamp' ? policy.epochNs : 0n
  const moves = (mtimeNs: bigint): boolean => (policy.kind === 'zero' ? mtimeNs !== 0n : mtimeNs > limit)
  if (!tree.entries.some((entry) => moves(entry.mtimeNs) && !isWhiteout(entry))) return tree
  return {
    entries: tree.entries.map((entry) =>
      moves(entry.mtimeNs) && !isWhiteout(entry) ? { ...entry, mtimeNs: limit } : entry,
    ),
  }
}

// rollback: an older generation becomes current again, as a new record.
import { number, treeIdOf } from '../host/replies.ts'
import { hostText, type Target } from '../model/names.ts'
import { connect, type Context } from './context.ts'

export type RolledBack = {
  readonly host: string
  readonly container: string
  readonly generation: number
  readonly from: number
  /** Ids of trees, bottom first. */
  readonly stack: readonly string[]
  readonly bundle: string
}

/** `to` is a generation's number; undefined is the one before the current. Throws E_GEN, E_NO_CONTAINER, E_CONFLICT. */
export async function rollback(at: { target: Target; to: number | undefined }, context: Context): Promise<RolledBack> {
  await using connected = await connect(at.target.host, context)
  const { records } = await connected.session.ask(['rollback', at.target.container, '0', String(at.to ?? 0)])
  const record = (kind: string): readonly string[] => records.find((words) => words[0] === kind) ?? []
  return {
    host: hostText(at.target.host),
    container: at.target.container,
    generation: number(record('generation')[1]),
    from: number(record('stack')[3]),
    stack: (record('stack')[1] ?? '').split(',').map(treeIdOf),
    bundle: `${context.bundles}/${at.target.container}`,
  }
}

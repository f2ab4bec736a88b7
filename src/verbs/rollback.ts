// rollback: an older generation becomes current again, as a new record.
import { number, treeIdOf } from '../host/replies.ts'
import { hostText, type Target } from '../model/names.ts'
import { connect, type Context } from './context.ts'
import { readyOn, runOn, type RunOptions, type Started } from './run.ts'

export type RolledBack = {
  readonly host: string
  readonly container: string
  readonly generation: number
  readonly from: number
  /** Ids of trees, bottom first. */
  readonly stack: readonly string[]
  readonly bundle: string
  readonly runs: number | null
  readonly started: Started | null
}

/** `to` is a generation's number; undefined is the one before the current. Throws E_GEN, E_NO_CONTAINER, E_CONFLICT. */
export async function rollback(
  at: { readonly target: Target; readonly to: number | undefined; readonly restart: RunOptions | undefined },
  context: Context,
): Promise<RolledBack> {
  await using connected = await connect(at.target.host, context)
  const { container } = at.target
  if (at.restart !== undefined)
    await readyOn(connected, container, { ...at.restart, port: undefined, rootfs: undefined })
  const { records } = await connected.session.ask(['rollback', at.target.container, '0', String(at.to ?? 0)])
  const record = (kind: string): readonly string[] => records.find((words) => words[0] === kind) ?? []
  const generation = number(record('generation')[1])
  const started =
    at.restart &&
    (await runOn(connected, { container, mode: 'switch', expected: generation }, { options: at.restart, context }))
  const runs = started?.generation ?? number(record('runs')[1])
  context.onEvent({ kind: 'step', step: 'done' })
  return {
    host: hostText(at.target.host),
    container: at.target.container,
    generation,
    from: number(record('stack')[3]),
    stack: (record('stack')[1] ?? '').split(',').map(treeIdOf),
    bundle: `${context.bundles}/${at.target.container}`,
    runs: runs === 0 ? null : runs,
    started: started ?? null,
  }
}

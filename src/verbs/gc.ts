// gc: frees the generations and trees that nothing needs any more.
import { number, treeIdOf } from '../host/replies.ts'
import { hostText, parseContainerName, type HostRef } from '../model/names.ts'
import { connect, type Context } from './context.ts'

export type Collected = {
  readonly host: string
  readonly dryRun: boolean
  readonly generations: readonly { readonly container: string; readonly number: number }[]
  /** `bytes` is what the tree's directory takes, shared inodes included. */
  readonly trees: readonly { readonly id: string; readonly bytes: number }[]
}

export async function gc(at: { host: HostRef; keep: number; dryRun: boolean }, context: Context): Promise<Collected> {
  await using connected = await connect(at.host, context)
  const { records } = await connected.session.ask(['gc', String(at.keep), at.dryRun ? 'yes' : 'no'])
  const freed = records.filter((words) => words[0] === 'freed')
  return {
    host: hostText(at.host),
    dryRun: at.dryRun,
    generations: freed
      .filter((words) => words[1] === 'generation')
      .map((words) => ({ container: parseContainerName(words[2] ?? ''), number: number(words[3]) })),
    trees: freed
      .filter((words) => words[1] === 'tree')
      .map((words) => ({ id: treeIdOf(words[2]?.slice(0, 64)), bytes: number(words[3] ?? '0') * 1024 })),
  }
}

// status: which containers a host holds, their generations, what is current and whether it is mounted.
import type { Container } from '../host/survey.ts'
import { hostText, type ContainerName, type HostRef } from '../model/names.ts'
import { VarveError } from '../errors.ts'
import { connect, type Context } from './context.ts'

export type Status = {
  readonly host: string
  readonly store: string
  readonly trees: number
  readonly freeBytes: number | undefined
  readonly containers: readonly (Container & { readonly bundle: string })[]
}

export async function status(
  at: { host: HostRef; container: ContainerName | undefined },
  context: Context,
): Promise<Status> {
  await using connected = await connect(at.host, context)
  const survey = await connected.survey(at.container)
  if (at.container !== undefined && survey.containers.length === 0)
    throw new VarveError(
      'E_NO_CONTAINER',
      `cannot show "${at.container}": ${hostText(at.host)} has no such container`,
      { hint: `varve status ${hostText(at.host)}` },
    )
  return {
    host: hostText(at.host),
    store: context.store,
    trees: survey.trees.length,
    freeBytes: survey.tools.freeKib === undefined ? undefined : survey.tools.freeKib * 1024,
    containers: survey.containers.map((container) => ({
      ...container,
      bundle: `${context.bundles}/${container.name}`,
    })),
  }
}

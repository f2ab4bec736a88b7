// rm: a container and all its generations go; its trees stay until gc.
import { VarveError, hasCode } from '../errors.ts'
import { hostText, type Target } from '../model/names.ts'
import { connect, type Context } from './context.ts'

/** Throws E_NO_CONTAINER, E_BUSY_MOUNT while a process runs on it, E_PERSIST where `data` that it persisted is to stay. */
export async function rm(
  { target, data }: { readonly target: Target; readonly data: boolean },
  context: Context,
): Promise<{ host: string; container: string }> {
  await using connected = await connect(target.host, context)
  try {
    await connected.session.ask(['rm', target.container, data ? 'yes' : 'no'])
  } catch (cause) {
    if (!hasCode(cause, 'E_PERSIST')) throw cause
    const hint = `varve rm ${hostText(target.host)}:${target.container} --data removes that too`
    throw new VarveError('E_PERSIST', cause.message, { hint, cause })
  }
  return { host: hostText(target.host), container: target.container }
}

// rm: a container and all its generations go; its trees stay until gc.
import { hostText, type Target } from '../model/names.ts'
import { connect, type Context } from './context.ts'

/** Throws E_NO_CONTAINER, or E_BUSY_MOUNT while a process runs on it. */
export async function rm(target: Target, context: Context): Promise<{ host: string; container: string }> {
  await using connected = await connect(target.host, context)
  await connected.session.ask(['rm', target.container])
  return { host: hostText(target.host), container: target.container }
}

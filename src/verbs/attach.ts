// exec and logs: what a container says, now and before, and commands in it, through the session's own streams.
import { finished, pipeline } from 'node:stream/promises'
import type { Readable } from 'node:stream'
import { wordOf } from '../host/replies.ts'
import type { Attached } from '../host/session.ts'
import type { Target } from '../model/names.ts'
import { connect, type Context } from './context.ts'

/** Takes what is said, in pieces as they come. */
export type Listener = (piece: Buffer, stream: 'stdout' | 'stderr') => void

/** The exit status of the command. Throws E_NOT_RUNNING, E_NO_ENGINE. */
export async function exec(
  { target, words, stdin }: { readonly target: Target; readonly words: readonly string[]; readonly stdin: Readable | undefined }, // prettier-ignore
  context: Context,
  said: Listener,
): Promise<number> {
  await using connected = await connect(target.host, context)
  const attached = await connected.session.attach(['exec', target.container, ...words.map(wordOf)])
  context.onEvent({ kind: 'step', step: 'done' })
  if (stdin === undefined) attached.stdin.end()
  // a command need not read all that there is
  else pipeline(stdin, attached.stdin).catch(() => {})
  await hear(attached, said)
  return (await attached.exit) ?? 255
}

/** Lines of the generation that runs or ran last, when `generation` is undefined. Throws E_GEN, E_NO_CONTAINER. */
export async function logs(
  at: { readonly target: Target; readonly generation: number | undefined; readonly lines: number; readonly follow: boolean }, // prettier-ignore
  context: Context,
  said: Listener,
): Promise<void> {
  await using connected = await connect(at.target.host, context)
  const words = ['logs', at.target.container, String(at.generation ?? 0), String(at.lines), at.follow ? 'yes' : 'no']
  const attached = await connected.session.attach(words)
  context.onEvent({ kind: 'step', step: 'done' })
  await hear(attached, said)
}

async function hear({ stdout, stderr }: Attached, said: Listener): Promise<void> {
  // it may have ended by now
  const errors = finished(stderr).catch(() => {})
  stderr.on('data', (piece: Buffer) => said(piece, 'stderr'))
  for await (const piece of stdout) said(piece, 'stdout')
  await errors
}

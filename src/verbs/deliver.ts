// What push and apply share: connections that are made again, a delta into the host's spool, and the switch to a generation that stands on it.
import { setTimeout as sleep } from 'node:timers/promises'
import { VarveError, hasCode } from '../errors.ts'
import type { Upload } from '../host/upload.ts'
import { hostText } from '../model/names.ts'
import { sha256 } from '../store/hash.ts'
import type { Upload as Begun } from '../store/uploads.ts'
import type { Connected, Context } from './context.ts'
import type { Asked, Now } from './prepare.ts'

/** Does something `once`, and again with growing patience where its connection was lost. */
export async function retrying<Result>(context: Context, once: (context: Context) => Promise<Result>): Promise<Result> {
  const ask = remembering(context.ask)
  for (let tries = 0; ; tries++) {
    try {
      return await once({ ...context, ask: ask(tries) })
    } catch (error) {
      const lost =
        hasCode(error, 'E_LOST') || (tries > 0 && (hasCode(error, 'E_CONNECT') || hasCode(error, 'E_TIMEOUT')))
      if (!lost || tries >= (context.retries ?? 0)) throw error
      const seconds = 2 ** tries
      context.onEvent({ kind: 'warning', code: 'W_RETRY', message: `${error.message}: trying again in ${seconds} s` })
      await sleep(seconds * 1000)
    }
  }
}

/** What was typed once is not asked for again when a connection is made again. */
function remembering(ask: Context['ask']): (tries: number) => Context['ask'] {
  const answers = new Map<string, string | undefined>()
  return (tries) =>
    ask &&
    (async (question) => {
      const known = tries > 0 ? answers.get(question.prompt) : undefined
      const answer = known ?? (await ask(question))
      answers.set(question.prompt, answer)
      return answer
    })
}

/** Gives a delta's bytes, anew each time; `note` remembers what it was made with, should the connection be lost. */
export type MakeDelta = (begun: Begun, note: (madeWith: string) => void) => Promise<AsyncIterable<Uint8Array>>

/** A delta on its way: in the host's spool, or so small that it goes along with the request to take it. */
export type Delivered = Upload & { readonly bytes?: Buffer }

/** More is spooled: what is lost with a connection is sent again, and sudo may log what goes through it. */
const MOST_INLINE = 1 << 16

/** Spools a delta on the host, going on with what a push that was cut left there. */
export async function uploadTo(
  { connected, survey, manifest, context }: Pick<Asked, 'connected' | 'survey' | 'manifest' | 'context'>,
  delta: {
    readonly tree: string
    readonly base: string | undefined
    readonly make: MakeDelta
  },
): Promise<Delivered> {
  const { uploads } = manifest
  const [host, what] = [hostText(connected.host), `${delta.tree} ${delta.base ?? '-'}`]
  const file = uploads.begin(host, what)
  const note = (madeWith: string): void => uploads.note(host, what, madeWith)
  let chunks = await delta.make(file, note)
  if (survey.tools.has('inline') && file.begun.length === 0 && context.bytesPerSecond === undefined) {
    const { bytes, rest } = await beginning(chunks)
    if (rest === undefined) {
      uploads.end(host, what)
      return { name: 'inline', size: bytes.length, sha256: sha256(bytes), resumed: 0, bytesPerSecond: undefined, bytes }
    }
    chunks = rest
  }
  const upload =
    (await connected.session.upload(chunks, file)) ??
    (await connected.session.upload(await delta.make({ ...file, madeWith: '' }, note), { ...file, begun: [] }))
  if (upload === undefined) throw new VarveError('E_BUG', 'cannot send the delta: it was refused')
  uploads.end(host, what)
  if (upload.bytesPerSecond !== undefined) uploads.keepRate(host, upload.bytesPerSecond)
  if (upload.resumed > 0)
    context.onEvent({
      kind: 'detail',
      message: `${upload.resumed} of ${upload.size} bytes were there from a push that was cut`,
    })
  return upload
}

/** All of it where it is small; else also what gives all of it. */
async function beginning(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: Buffer; readonly rest: AsyncIterable<Uint8Array> | undefined }> {
  const iterator = chunks[Symbol.asyncIterator]()
  const read: Uint8Array[] = []
  for (let size = 0; size <= MOST_INLINE;) {
    const { value, done } = await iterator.next()
    if (done === true) return { bytes: Buffer.concat(read), rest: undefined }
    read.push(Uint8Array.from(value)) // it may be overwritten by the next
    size += value.length
  }
  const rest = async function* (): AsyncGenerator<Uint8Array> {
    yield* read
    yield* { [Symbol.asyncIterator]: () => iterator }
  }
  return { bytes: Buffer.alloc(0), rest: rest() }
}

/** Asks the host to make the tree of what was delivered; `words` tell how it is packed. */
export async function askReceive(
  { session }: Connected,
  { tree, base }: { readonly tree: string; readonly base: string | undefined },
  { name, size, sha256: sum, bytes }: Delivered,
  words: readonly string[],
): Promise<void> {
  const request = ['receive', tree, base ?? '-', name, String(size), sum, ...words]
  if (bytes === undefined) await session.ask(request)
  else await session.ask([...request, 'stream'], framed(bytes))
}

function framed(bytes: Buffer): Buffer {
  const frame = bytes.length === 0 ? [] : [Buffer.from(`${bytes.length}\n`), bytes]
  return Buffer.concat([...frame, Buffer.from('0\n')])
}

type Activation = {
  readonly container: string
  readonly store: string
  readonly now: Now
  readonly number: number
  readonly stack: readonly string[]
  readonly rootfs: 'overlay' | 'copy'
  readonly config: (rootPath: string) => Buffer
  readonly configSha256: string
  readonly seen: { readonly entries: number; readonly bytes: number }
  /** What it stands on was asked for, and may still fail: then nothing is done. */
  readonly unheard?: boolean
}

/** Makes the new generation and switches to it. A config.json that the current one has is not sent. */
export async function activateOn({ session }: Connected, to: Activation): Promise<void> {
  const { container, now, number, seen } = to
  const config = (): Buffer => to.config(`${to.store}/c/${container}/bundle/${number}/rootfs`)
  const switchWith = async (body: Buffer, unheard = to.unheard === true): Promise<void> => {
    const words = ['activate', container, String(now.container?.current ?? 0), String(number), to.stack.join(','), to.rootfs, to.configSha256, String(body.length), String(seen.entries), String(seen.bytes)] // prettier-ignore
    if (unheard) await session.ask(['then', ...words, 'stream'], framed(body))
    else await session.ask(words, body)
  }
  if (now.generation?.config === to.configSha256) {
    try {
      return await switchWith(Buffer.alloc(0))
    } catch (error) {
      if (!hasCode(error, 'E_BASE_MISSING')) throw error
      return await switchWith(config(), false)
    }
  }
  await switchWith(config())
}

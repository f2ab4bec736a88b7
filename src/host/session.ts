// A root session on a host: starts the runtime over any transport, asks it, and hands it spooled uploads.
import { randomBytes } from 'node:crypto'
import type { Writable } from 'node:stream'
import { VarveError } from '../errors.ts'
import { becomeRoot } from './become-root.ts'
import { loadRuntime, rootCommand } from './loader.ts'
import { ReplyReader, type Reply } from './replies.ts'
import { upload, write, type Upload } from './upload.ts'
import type { Channel, Transport } from './transport.ts'

export type SessionOptions = {
  readonly store: string
  readonly bundles: string
  /** Asks for sudo's password; undefined where there is no terminal to ask at. */
  readonly askPassword: (() => Promise<string | undefined>) | undefined
  /** What starting a command costs on this transport: two over SSH, none locally. */
  readonly roundTripsPerCommand: number
  /** The most that uploads take of the link; all of it when undefined. */
  readonly bytesPerSecond?: number | undefined
  /** The words of the first request, which goes with the command that starts the runtime. */
  readonly first?: readonly string[]
}

export type Session = AsyncDisposable & {
  /** Sends one request, a line of plain words, with bytes behind it where the verb takes them. */
  ask(words: readonly string[], body?: Uint8Array): Promise<Reply>
  /** The same with a stream of bytes behind the request, in frames; the answer comes once the host has taken them. */
  stream(words: readonly string[], chunks: AsyncIterable<Uint8Array>): Promise<{ readonly size: number }>
  /**
   * Writes chunks into the login user's spool, beside the root session. Where it was `begun` under other names, only what
   * the host does not have yet is sent; undefined where the host has the beginning of something else.
   */
  upload(
    chunks: AsyncIterable<Uint8Array>,
    file: { readonly name: string; readonly begun: readonly string[] },
  ): Promise<Upload | undefined>
  /** Asks last: behind its answer the streams and the exit status are those of a command. Throws as `ask` does. */
  attach(words: readonly string[]): Promise<Attached>
  /** The answer to the request that it was opened with. */
  readonly first?: Promise<Reply> | undefined
  readonly roundTrips: () => number
}

export type Attached = Pick<Channel, 'stdin' | 'stderr' | 'exit'> & { readonly stdout: AsyncIterable<Buffer> }

/** Throws E_SHELL, E_ROOT, E_SUDO_*, E_PROTO, E_LOST. The password is sent once, after sudo's own random prompt only. */
export async function openSession(transport: Transport, options: SessionOptions): Promise<Session> {
  const runtime = loadRuntime()
  const [prompt, mark] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
  const channel = await transport.exec(
    rootCommand({ prompt, mark, store: options.store, bundles: options.bundles, id: runtime.id, request: lineOf(options.first ?? []) }), // prettier-ignore
  )
  let roundTrips = options.roundTripsPerCommand
  const reader = new ReplyReader(channel.stdout)
  const state = await becomeRoot(channel, { reader, prompt, mark, askPassword: options.askPassword })
  if (state === 'need') {
    await write(channel.stdin, Buffer.concat([Buffer.from(`${runtime.text.length}\n`), runtime.text]))
    await reader.mark(mark)
    roundTrips++
  }

  const first = options.first && reader.reply()
  let last: Promise<unknown> = Promise.resolve(first).catch(() => {})
  let waiting = 0
  const ask: Session['ask'] = async (words, body) => {
    // requests that are sent while another is under way share its round trip; answers come in order
    if (waiting++ === 0) roundTrips++
    const sent = write(channel.stdin, Buffer.concat([Buffer.from(`${lineOf(words)}\n`), body ?? new Uint8Array()]))
    const answer = last.then(async () => {
      await sent
      return reader.reply()
    })
    last = answer.catch(() => {}).finally(() => waiting--)
    return answer
  }
  return {
    ask,
    first,
    async stream(words, chunks) {
      const answer = ask([...words, 'stream'])
      answer.catch(() => {}) // it is told below, unless the source fails first
      const size = await sendFrames(channel.stdin, chunks)
      await answer
      return { size }
    },
    async upload(chunks, file) {
      roundTrips += options.roundTripsPerCommand + (file.begun.length === 0 ? 1 : 2)
      return upload(transport, chunks, { ...file, bytesPerSecond: options.bytesPerSecond })
    },
    async attach(words) {
      await ask(words)
      return { stdin: channel.stdin, stdout: reader.rest(), stderr: channel.stderr, exit: channel.exit }
    },
    roundTrips: () => roundTrips,
    // the runtime ends with its input; every answer was there before, so nothing is to be waited for
    async [Symbol.asyncDispose]() {
      channel.stdin.end()
      channel.stdout.resume()
    },
  }
}

function lineOf(words: readonly string[]): string {
  if (words.some((word) => !/^[\x21-\x7e]+$/.test(word)))
    throw new VarveError('E_BUG', 'cannot ask the host: a word is not plain')
  return words.join(' ')
}

const FRAME = 4 << 20

/** Where the chunks fail, the host is told the end all the same: it refuses what is cut, and the session goes on. */
async function sendFrames(stdin: Writable, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0
  let pieces: Uint8Array[] = []
  let bytes = 0
  const send = async (): Promise<void> => {
    await write(stdin, Buffer.from(`${bytes}\n`))
    for (const piece of pieces) await write(stdin, piece)
    size += bytes
    pieces = []
    bytes = 0
  }
  try {
    for await (const chunk of chunks) {
      pieces.push(chunk)
      bytes += chunk.length
      if (bytes >= FRAME) await send()
    }
    if (bytes > 0) await send()
  } finally {
    await write(stdin, Buffer.from('0\n'))
  }
  return size
}

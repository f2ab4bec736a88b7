// A root session on a host: starts the runtime over any transport, asks it, and hands it spooled uploads.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { becomeRoot } from './become-root.ts'
import { loadRuntime, rootCommand, uploadCommand } from './loader.ts'
import { ReplyReader, number, type Reply } from './replies.ts'
import type { Transport } from './transport.ts'

export type SessionOptions = {
  readonly store: string
  readonly bundles: string
  /** Asks for sudo's password; undefined where there is no terminal to ask at. */
  readonly askPassword: (() => Promise<string | undefined>) | undefined
  /** What starting a command costs on this transport: two over SSH, none locally. */
  readonly roundTripsPerCommand: number
}

export type Upload = { readonly name: string; readonly size: number; readonly sha256: string }

export type Session = AsyncDisposable & {
  /** Sends one request, a line of plain words, with bytes behind it where the verb takes them. */
  ask(words: readonly string[], body?: Uint8Array): Promise<Reply>
  /** The same with a stream of bytes behind the request, in frames; the answer comes once the host has taken them. */
  stream(words: readonly string[], chunks: AsyncIterable<Uint8Array>): Promise<{ readonly size: number }>
  /** Writes chunks into the login user's spool, beside the root session. */
  upload(chunks: AsyncIterable<Uint8Array>, onProgress?: (bytes: number) => void): Promise<Upload>
  readonly roundTrips: () => number
}

/** Throws E_SHELL, E_ROOT, E_SUDO_*, E_PROTO, E_LOST. The password is sent once, after sudo's own random prompt only. */
export async function openSession(transport: Transport, options: SessionOptions): Promise<Session> {
  const runtime = loadRuntime()
  const [prompt, mark] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
  const channel = await transport.exec(
    rootCommand({ prompt, mark, store: options.store, bundles: options.bundles, id: runtime.id }),
  )
  let roundTrips = options.roundTripsPerCommand
  const reader = new ReplyReader(channel.stdout)
  const state = await becomeRoot(channel, { reader, prompt, mark, askPassword: options.askPassword })
  if (state === 'need') {
    await write(channel.stdin, Buffer.concat([Buffer.from(`${runtime.text.length}\n`), runtime.text]))
    await reader.mark(mark)
    roundTrips++
  }

  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  const ask: Session['ask'] = async (words, body) => {
    if (words.some((word) => !/^[\x21-\x7e]+$/.test(word)))
      throw new VarveError('E_BUG', 'cannot ask the host: a word is not plain')
    // requests that are sent while another is under way share its round trip; answers come in order
    if (waiting++ === 0) roundTrips++
    const sent = write(channel.stdin, Buffer.concat([Buffer.from(`${words.join(' ')}\n`), body ?? new Uint8Array()]))
    const answer = last.then(async () => {
      await sent
      return reader.reply()
    })
    last = answer.catch(() => {}).finally(() => waiting--)
    return answer
  }
  return {
    ask,
    async stream(words, chunks) {
      const answer = ask([...words, 'stream'])
      answer.catch(() => {}) // it is told below, unless the source fails first
      const size = await sendFrames(channel.stdin, chunks)
      await answer
      return { size }
    },
    async upload(chunks, onProgress) {
      roundTrips += options.roundTripsPerCommand + 1
      return upload(transport, chunks, onProgress)
    },
    roundTrips: () => roundTrips,
    async [Symbol.asyncDispose]() {
      channel.stdin.end()
      channel.stdout.resume()
      await Promise.race([channel.exit, new Promise((resolve) => setTimeout(resolve, 2000).unref())])
      channel.close()
    },
  }
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

async function upload(
  transport: Transport,
  chunks: AsyncIterable<Uint8Array>,
  onProgress?: (bytes: number) => void,
): Promise<Upload> {
  const name = randomBytes(32).toString('hex')
  const channel = await transport.exec(uploadCommand(name))
  let said = ''
  let answer = ''
  channel.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('latin1').slice(0, 1000)))
  channel.stdout.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1').slice(0, 1000)))
  const hash = createHash('sha256')
  let size = 0
  let broken: unknown
  try {
    for await (const chunk of chunks) {
      hash.update(chunk)
      size += chunk.length
      await write(channel.stdin, chunk)
      onProgress?.(size)
    }
    channel.stdin.end()
  } catch (error) {
    // what the source threw is the cause; what the channel threw is explained by how the command ended
    if (!isBrokenPipe(error)) {
      channel.close()
      throw error
    }
    broken = error
  }
  const status = await channel.exit
  if (status === null)
    throw new VarveError('E_LOST', 'lost the connection while sending the delta', {
      hint: 'run the same command again',
      cause: broken,
    })
  if (status === 9)
    throw new VarveError(
      'E_IO',
      `cannot send the delta: "~/.cache/varve/spool" on the host is no directory of the login user's own`,
      { hint: 'on the host: sudo rm -rf ~/.cache/varve' },
    )
  if (status !== 0 || arrived(answer, name) !== size) {
    const why = escapeControls(said.trim().split('\n').at(-1) ?? '', 0x7e)
    if (/No space left|quota exceeded/i.test(said))
      throw new VarveError('E_NOSPACE', `cannot send the delta: ${why}`, {
        hint: 'free space in the home directory of the login user on the host',
      })
    throw new VarveError(
      'E_IO',
      `cannot send the delta: ${why === '' ? `the upload ended with status ${status}` : why}`,
    )
  }
  return { name, size, sha256: hash.digest('hex') }
}

/** What the login shell says on its own, such as a greeting, comes before. */
function arrived(answer: string, name: string): number {
  return number(answer.split(`${name} `)[1]?.trim())
}

function isBrokenPipe(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return (
    code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED' || code === 'E_LOST' || code === 'ERR_STREAM_WRITE_AFTER_END'
  )
}

/** Waits while the other side is slower; fails when the stream does. */
async function write(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (stream.destroyed) throw Object.assign(new Error('the stream is closed'), { code: 'EPIPE' })
  if (stream.write(bytes)) return
  const closed = new AbortController()
  try {
    await Promise.race([
      once(stream, 'drain', { signal: closed.signal }),
      once(stream, 'close', { signal: closed.signal }).then(() => {
        throw Object.assign(new Error('the stream is closed'), { code: 'EPIPE' })
      }),
    ])
  } finally {
    closed.abort()
  }
}

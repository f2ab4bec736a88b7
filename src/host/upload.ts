// Sends a delta into the login user's spool on a host, and goes on where a lost connection left off.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { uploadCommand } from './loader.ts'
import { number } from './replies.ts'
import type { Channel, Transport } from './transport.ts'

export type Upload = {
  readonly name: string
  readonly size: number
  readonly sha256: string
  /** So many bytes of it were on the host already. */
  readonly resumed: number
  /** How fast the link took what was waiting for it; undefined where that was too little to tell. */
  readonly bytesPerSecond: number | undefined
}

/** Throws E_LOST, E_NOSPACE, E_IO. Undefined where the host has the beginning of something else. */
export async function upload(
  transport: Transport,
  chunks: AsyncIterable<Uint8Array>,
  {
    name,
    begun,
    bytesPerSecond = Infinity,
  }: { readonly name: string; readonly begun: readonly string[]; readonly bytesPerSecond?: number | undefined },
): Promise<Upload | undefined> {
  const channel = await transport.exec(uploadCommand(name, begun))
  let said = ''
  let answer = ''
  channel.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('latin1').slice(0, 1000)))
  channel.stdout.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1').slice(0, 1000)))
  const allSaid = Promise.allSettled([finished(channel.stdout), finished(channel.stderr)])
  const hash = createHash('sha256')
  const send = paced(channel.stdin, bytesPerSecond, transport.traffic)
  let size = 0
  let broken: unknown
  let resumed = 0
  let blockedMs = 0
  const waited = async <Value>(wait: Promise<Value>): Promise<Value> => {
    const since = performance.now()
    const value = await wait
    blockedMs += performance.now() - since
    return value
  }
  try {
    const there = begun.length === 0 ? undefined : await leftOf(channel, name, () => answer)
    let held = there?.size ?? 0
    for await (const chunk of chunks) {
      size += chunk.length
      // what the host has already is only hashed, up to where it ends
      const known = chunk.subarray(0, held)
      hash.update(known)
      held -= known.length
      if (held > 0) continue
      if (there !== undefined && size - chunk.length < there.size) {
        if (hash.copy().digest('hex') !== there.sha256) return await refuse(channel)
        resumed = there.size
        await write(channel.stdin, Buffer.from('go\n'))
      } else if (there?.size === 0 && size === chunk.length) await write(channel.stdin, Buffer.from('anew\n'))
      hash.update(chunk.subarray(known.length))
      await waited(send(chunk.subarray(known.length)))
    }
    // it was made shorter since
    if (held > 0) return await refuse(channel)
    channel.stdin.end()
  } catch (error) {
    // what the source threw is the cause; what the channel threw is explained by how the command ended
    if (!isBrokenPipe(error)) {
      channel.close()
      throw error
    }
    broken = error
  }
  const status = await waited(channel.exit)
  // sshd may tell the status before the last words
  await Promise.race([allSaid, sleep(LAST_WORDS_MS, undefined, { ref: false })])
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
  const tells = size - resumed >= TELLING && bytesPerSecond === Infinity
  return {
    name,
    size,
    sha256: hash.digest('hex'),
    resumed,
    bytesPerSecond: tells ? ((size - resumed) / Math.max(1, blockedMs)) * 1000 : undefined,
  }
}

/** What the command left running may keep its outputs open. */
const LAST_WORDS_MS = 2000

/** Less may all fit into the buffers on the way. */
const TELLING = 1 << 20

/** Writes no faster than so many bytes a second are on the wire; time in which nothing was there to write is not made up for. */
function paced(
  stdin: Writable,
  bytesPerSecond: number,
  traffic: Transport['traffic'],
): (bytes: Uint8Array) => Promise<void> {
  let [from, since] = [traffic().sent, performance.now()]
  const step = Number.isFinite(bytesPerSecond) ? Math.max(1024, Math.min(1 << 16, bytesPerSecond / 8)) : Infinity
  return async (bytes) => {
    for (let at = 0; at < bytes.length; at += step) {
      await write(stdin, bytes.subarray(at, Math.min(bytes.length, at + step)))
      if (step === Infinity) return
      const late = performance.now() - since - ((traffic().sent - from) / bytesPerSecond) * 1000
      if (late < 0) await sleep(-late)
      else if (late > 1000) [from, since] = [traffic().sent, performance.now()]
    }
  }
}

/** The host is to forget what it has. */
async function refuse(channel: Channel): Promise<undefined> {
  await write(channel.stdin, Buffer.from('no\n'))
  channel.stdin.end()
  await channel.exit
}

/** What the login shell says on its own, such as a greeting, comes before. */
function arrived(answer: string, name: string): number {
  return number(new RegExp(`${name} +([0-9]+)\\s*$`).exec(answer)?.[1])
}

/** What a connection that was lost left there. */
async function leftOf(
  channel: Channel,
  name: string,
  answer: () => string,
): Promise<{ readonly size: number; readonly sha256: string }> {
  for (;;) {
    const said = new RegExp(`${name} has +([0-9]+) ([0-9a-f]{64})\n`).exec(answer())
    if (said !== null) return { size: number(said[1]), sha256: said[2] ?? '' }
    const ended = await Promise.race([once(channel.stdout, 'data').then(() => false), channel.exit.then(() => true)])
    if (ended) throw Object.assign(new Error('the command ended'), { code: 'EPIPE' })
  }
}

function isBrokenPipe(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return (
    code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED' || code === 'E_LOST' || code === 'ERR_STREAM_WRITE_AFTER_END'
  )
}

/** Waits while the other side is slower; fails when the stream does. */
export async function write(stream: Writable, bytes: Uint8Array): Promise<void> {
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

// What it is to run commands on a host, whatever stands between: the nouns that ssh and local share.
import type { Duplex } from 'node:stream'
import { Readable, Writable } from 'node:stream'

/** One running command. Its three streams carry bytes and fail with E_LOST once the connection is lost. */
export type Channel = {
  /** Fails with the code EPIPE when the command has ended. */
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** The exit status, or null when a signal killed it or the connection was lost. Never rejects. */
  readonly exit: Promise<number | null>
  /** Ends this command's channel; the connection stays. */
  close(): void
}

/** A host that runs commands, until it is disposed of. */
export type Transport = AsyncDisposable & {
  /** Starts `command` (already quoted by quote.ts) on the host. Costs two round trips over SSH. Throws E_LOST, E_CONNECT. */
  exec(command: string): Promise<Channel>
  /** Bytes on the wire so far, everything included; zero for local. */
  readonly traffic: () => { readonly sent: number; readonly received: number }
}

/** What a connection has for a command: ssh2's channel, or as much of it as is used here. */
export type Wire = Duplex & { readonly stderr: Readable; close(): void }

/** Makes a Channel of `wire`, whose 'exit' event tells the status; `lost` aborts when the connection is gone. */
export function channelOver(wire: Wire, lost: AbortSignal): Channel {
  const stdin = writableUntil(lost, wire)
  const stdout = readableUntil(lost, wire)
  const stderr = readableUntil(lost, wire.stderr)
  const closed = new AbortController()
  const exit = new Promise<number | null>((resolve) => {
    const ended = (status: number | null): void => {
      resolve(status)
      lost.removeEventListener('abort', gone)
      if (!stdin.writableFinished) stdin.destroy(Object.assign(new Error('the command has ended'), { code: 'EPIPE' }))
    }
    const gone = (): void => ended(null)
    wire.on('exit', ended)
    wire.on('close', gone)
    closed.signal.addEventListener('abort', gone, { once: true }) // sshd may keep its end open while the command runs
    lost.addEventListener('abort', gone, { once: true })
    if (lost.aborted) gone()
  })
  const close = (): void => {
    wire.close()
    closed.abort()
    for (const stream of [stdin, stdout, stderr]) stream.destroy()
  }
  return { stdin, stdout, stderr, exit, close }
}

/** What `source` gives; but an end that comes from a lost connection is an error, never an end of file. */
function readableUntil(lost: AbortSignal, source: Readable): Readable {
  const out = new Readable({
    read: () => void source.resume(),
    destroy: (error, done) => {
      source.resume() // what nobody reads must not hold up the rest of the connection
      done(error)
    },
  })
  source.on('data', (chunk: Buffer) => {
    if (!out.destroyed && !out.push(chunk)) source.pause()
  })
  source.on('end', () => out.push(null)) // after a loss it has failed already
  source.on('error', (error) => out.destroy(error))
  return failing(out, lost)
}

/** Takes what `sink` takes; a write that `sink` never answers, since the other end is gone, fails all the same. */
function writableUntil(lost: AbortSignal, sink: Writable): Writable {
  let waiting: ((error?: Error | null) => void) | undefined
  const out = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      waiting = done
      sink.write(chunk, (error) => {
        if (waiting === done) waiting = undefined
        done(error)
      })
    },
    final: (done) => {
      sink.end()
      done()
    },
    destroy: (error, done) => {
      waiting?.(error)
      done(error)
    },
  })
  return failing(out, lost)
}

function failing<Stream extends Readable | Writable>(stream: Stream, lost: AbortSignal): Stream {
  const fail = (): void => void stream.destroy(lost.reason as Error)
  // Whoever awaits the stream is told; a loss that nobody awaits shows in `exit` and must not end the process.
  stream.on('error', () => undefined)
  stream.on('close', () => lost.removeEventListener('abort', fail))
  lost.addEventListener('abort', fail, { once: true })
  if (lost.aborted) fail()
  return stream
}

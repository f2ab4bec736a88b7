// Runs a command of an engine: its answer at once, or what it writes as a stream that fails where the command does.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { VarveError, messageOf } from '../errors.ts'
import { readBounded } from '../image/blobs.ts'
import type { Environment } from '../image/credentials.ts'
import { escapeControls } from '../model/bytes.ts'
import { openSpool, readRange } from '../tar/spool.ts'

/** The command first; each is one word, whatever is in it. */
export type Words = readonly [string, ...string[]]

const LARGEST_ANSWER = { bytes: 8 * 1024 ** 2, code: 'E_LIMIT' } as const
const LONGEST_MESSAGE = 500

/** Throws E_TOOL where there is no such command, E_ENGINE with what it said where it fails. */
export async function answerOf(words: Words, environment: Environment): Promise<Buffer> {
  return readBounded(outputOf(words, environment), `the answer of ${words[0]}`, LARGEST_ANSWER)
}

/** The command is stopped where its output is not read to the end. Throws what answerOf throws. */
export async function* outputOf(words: Words, environment: Environment): AsyncGenerator<Uint8Array> {
  const { child, ended } = await start(words, environment, 'pipe')
  try {
    yield* child.stdout as Readable as AsyncIterable<Uint8Array>
    await ended()
  } finally {
    child.kill()
  }
}

/** The same for commands that open /dev/stdout by its name: that works for a file, but not for what Node calls a pipe. */
export async function* outputByFile(
  words: Words,
  { environment, spoolDirectory }: { readonly environment: Environment; readonly spoolDirectory: string },
): AsyncGenerator<Uint8Array> {
  await using spool = await openSpool(spoolDirectory)
  const { ended } = await start(words, environment, spool.fd)
  await ended()
  const { size } = await spool.stat()
  yield* readRange(spool, { offset: 0, length: size }, { archive: `what ${words[0]} wrote` })
}

type Started = { readonly child: ChildProcess; readonly ended: () => Promise<void> }

async function start([command, ...rest]: Words, environment: Environment, stdout: 'pipe' | number): Promise<Started> {
  const child = spawn(command, rest, { env: { ...environment }, stdio: ['ignore', stdout, 'pipe'] })
  let said = ''
  child.stderr?.on('data', (bytes: Buffer) => (said = (said + bytes.toString('utf8')).slice(-LONGEST_MESSAGE)))
  const closed = once(child, 'close') as Promise<[number | null]>
  closed.catch(() => {}) // where it does not start, that is said below
  try {
    await once(child, 'spawn')
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    const why = missing ? 'there is no such command' : escapeControls(messageOf(cause))
    throw new VarveError('E_TOOL', `cannot run ${command}: ${why}`, { hint: `sudo apt-get install ${command}`, cause })
  }
  const ended = async (): Promise<void> => {
    const [status] = await closed
    if (status !== 0)
      throw new VarveError(
        'E_ENGINE',
        `cannot read from ${command}: it ended with ${status ?? 'a signal'} ("${escapeControls(said.trim())}")`,
      )
  }
  return { child, ended }
}

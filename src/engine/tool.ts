// Runs a command of an engine: its answer at once, or its output as a stream that fails where the command does.
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import type { Readable } from 'node:stream'
import { VarveError, messageOf } from '../errors.ts'
import { readBounded } from '../image/blobs.ts'
import type { Environment } from '../image/credentials.ts'
import { escapeControls } from '../model/bytes.ts'

/** The command first; each is one word, whatever is in it. */
export type Words = readonly [string, ...string[]]

const LARGEST_ANSWER = { bytes: 8 * 1024 ** 2, code: 'E_LIMIT' } as const
const LONGEST_MESSAGE = 500

/** Throws E_TOOL where there is no such command, E_ENGINE with what it said where it fails. */
export async function answerOf(words: Words, environment: Environment): Promise<Buffer> {
  return readBounded(await outputOf(words, environment), `the answer of ${words[0]}`, LARGEST_ANSWER)
}

/** The command is stopped where its output is not read to the end. */
export async function outputOf(words: Words, environment: Environment): Promise<AsyncIterable<Uint8Array>> {
  const [command, ...rest] = words
  const child = spawn(command, rest, { env: { ...environment }, stdio: ['ignore', 'pipe', 'pipe'] })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'ENOENT' ? 'there is no such command' : escapeControls(messageOf(cause))
      reject(new VarveError('E_TOOL', `cannot run ${command}: ${why}`, { hint: `apt-get install ${command}`, cause }))
    })
  })
  return output(child, command)
}

async function* output(
  child: ChildProcessByStdio<null, Readable, Readable>,
  command: string,
): AsyncGenerator<Uint8Array> {
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString('utf8')).slice(-LONGEST_MESSAGE)))
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>
    const status = await closed
    if (status !== 0)
      throw new VarveError(
        'E_ENGINE',
        `cannot read from ${command}: it ended with ${status ?? 'a signal'} ("${escapeControls(said.trim())}")`,
      )
  } finally {
    child.kill()
  }
}

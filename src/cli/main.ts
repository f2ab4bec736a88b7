// The command line: runs what the words ask for, prints data on stdout and all else on stderr, sets the exit status.
import { setTimeout as delay } from 'node:timers/promises'
import { CommanderError } from 'commander'
import { VarveError, exitStatus, hasCode, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { makeProgram } from './program.ts'

type Process = NodeJS.Process

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const UNDO_MS = 10_000

export async function main(process: Process): Promise<void> {
  // a reader that went away (varve status | head) is no failure of ours
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  const interrupt = interruptible(process)
  const undo = new Set<() => Promise<void>>()
  const json = wantsJson(process.argv)
  try {
    process.exitCode = await Promise.race([makeProgram(process, undo), interrupt])
  } catch (error) {
    // help and version are printed already
    if (error instanceof CommanderError && /^commander\.(?:help|version)/.test(error.code))
      process.exitCode = error.exitCode === 0 ? 0 : exitStatus.E_USAGE
    else if (hasCode(error, 'E_INTERRUPTED') && process.argv[2] === 'logs') process.exitCode = exitStatus.E_INTERRUPTED
    else
      process.exitCode = report(process, error instanceof CommanderError ? usage(error, process.argv[2]) : error, json)
  }
  // sockets and children of an abandoned run must not keep the process
  if (process.exitCode !== exitStatus.E_INTERRUPTED) return
  // a second signal must not end what is being undone
  for (const signal of SIGNALS) process.on(signal, () => {})
  await Promise.race([Promise.allSettled([...undo].map((each) => each())), delay(UNDO_MS)])
  process.exit()
}

function interruptible(process: Process): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of SIGNALS)
      process.once(signal, () =>
        reject(
          new VarveError('E_INTERRUPTED', 'interrupted', {
            hint: 'nothing is lost: run the same command again; varve status shows what is current',
          }),
        ),
      )
  })
}

/** Before the words are parsed: a usage error must already come in the format that was asked for. */
function wantsJson(argv: readonly string[]): boolean {
  return argv.some(
    (word, i) => word === '--json' || word === '--format=json' || (word === 'json' && argv[i - 1] === '--format'),
  )
}

/** What commander says may quote the command line as it stands; its guess at what was meant becomes the hint. */
function usage({ code, message }: CommanderError, verb = ''): VarveError {
  const [, what = '', meant] = /^(?:error: )?(.*?)\.?(?:\n\(Did you mean (.*)\?\))?$/s.exec(message) ?? []
  const known = code !== 'commander.unknownCommand' && /^[a-z]+$/.test(verb)
  return new VarveError(
    'E_USAGE',
    `cannot read the command line: ${escapeControls(what.replace(' is invalid. ', ' is invalid: '))}`,
    {
      hint:
        meant === undefined
          ? `varve ${known ? `${verb} ` : ''}--help lists what there is`
          : `did you mean ${escapeControls(meant)}?`,
    },
  )
}

function report(process: Process, error: unknown, json: boolean): number {
  const addon = missingAddon(error)
  const known =
    addon ??
    (error instanceof VarveError
      ? error
      : new VarveError('E_BUG', `unexpected: ${escapeControls(messageOf(error))}`, {
          hint: 'run again with --debug and report it',
          cause: error,
        }))
  if (json) printJson(process, known)
  else
    process.stderr.write(
      `varve: ${known.message} [${known.code}]\n${known.hint === undefined ? '' : `  hint: ${known.hint}\n`}`,
    )
  if (process.argv.includes('--debug'))
    process.stderr.write(
      `${escapeLines(known.stack)}\n${known.cause instanceof Error ? `caused by: ${escapeLines(known.cause.stack)}\n` : ''}`,
    )
  return exitStatus[known.code]
}

function printJson(process: Process, error: VarveError): void {
  const { code, message, hint } = error
  process.stdout.write(`${JSON.stringify({ schemaVersion: 1, error: { code, message, hint: hint ?? null } })}\n`)
}

function escapeLines(text: string | undefined): string {
  return (text ?? '')
    .split('\n')
    .map((line) => escapeControls(line))
    .join('\n')
}

/** npm may leave native packages unbuilt without a word. */
function missingAddon(error: unknown): VarveError | undefined {
  if (
    !/Could not locate the bindings file|Cannot find module .*\.node|was compiled against a different Node/.test(
      messageOf(error),
    )
  )
    return undefined
  return new VarveError('E_TOOL', 'cannot start: a native package was not built for this Node', {
    hint: 'npm rebuild, or npm install -g --allow-scripts=better-sqlite3,zstd-napi,ssh2 varve',
    cause: error,
  })
}

// The commands that run containers, and the options by which push and rollback restart one.
import { InvalidArgumentError, Option, type Command } from 'commander'
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { ENGINES, type Engine } from '../model/engine.ts'
import { parseTarget } from '../model/names.ts'
import type { Health } from '../model/service.ts'
import { exec, logs, type Listener } from '../verbs/attach.ts'
import { restart, start, stop, type RunOptions } from '../verbs/run.ts'
import type { CommonOptions, makeContext } from './context.ts'
import type { Output } from './output.ts'
import * as render from './render-run.ts'
import { TARGET, wholeNumber } from './ship.ts'

/** From a command's options to what its verb is given. */
export type Started = (options: CommonOptions) => {
  readonly context: ReturnType<typeof makeContext>
  readonly output: Output
}

export type RunFlags = CommonOptions & {
  engine?: Engine
  stopTimeout?: number
  boot?: boolean
  healthCmd?: string
  healthTcp?: number
  healthTimeout?: number
  upper?: 'fresh' | 'keep'
}

export type RestartFlags = RunFlags & { restart?: true }

/** For commands that start what is current. */
export function running(command: Command): Command {
  return command
    .option('--health-cmd <command>', 'well is what answers this to its own sh -c with status 0')
    .option('--health-tcp <port>', 'well is what listens on this port', port)
    .option('--health-timeout <seconds>', 'how long it may take to be well (default: 30)', wholeNumber)
    .option(
      '--stop-timeout <seconds>',
      'how long what runs may take to end before it is killed; kept (default: 10)',
      wholeNumber,
    ) // prettier-ignore
    .option('--boot', 'start it when the host boots; kept')
    .option('--no-boot', 'do not')
    .addOption(
      new Option('--upper <kind>', 'a fresh writable layer (the default), or that of what ran before').choices([
        'fresh',
        'keep',
      ]),
    )
}

export function engine(command: Command, what: string): Command {
  return command.addOption(
    new Option('--engine <engine>', `${what} (default: what the host has, in this order)`).choices(ENGINES),
  )
}

export function restarting(command: Command): Command {
  return running(command.option('--restart', 'run what is current then; what runs is stopped for it, and runs again where that is not well')) // prettier-ignore
}

export function runOptions(flags: RunFlags): RunOptions {
  if (flags.healthCmd !== undefined && flags.healthTcp !== undefined)
    throw new VarveError('E_USAGE', 'cannot use --health-cmd and --health-tcp at once', {
      hint: 'leave out one of them',
    })
  return {
    engine: flags.engine,
    stopSeconds: flags.stopTimeout,
    boot: flags.boot,
    health: healthOf(flags),
    healthSeconds: flags.healthTimeout ?? 30,
    upper: flags.upper ?? 'fresh',
  }
}

/** Throws E_USAGE where something is said of a start that is not asked for. */
export function restartOptions(flags: RestartFlags): RunOptions | undefined {
  if (flags.restart === true) return runOptions(flags)
  const { healthCmd, healthTcp, healthTimeout, stopTimeout, boot, upper } = flags
  const [name] = Object.entries({
    '--health-cmd': healthCmd,
    '--health-tcp': healthTcp,
    '--health-timeout': healthTimeout,
    '--stop-timeout': stopTimeout,
    '--boot': boot,
    '--upper': upper,
  }).find(([, value]) => value !== undefined) ?? [undefined]
  if (name !== undefined)
    throw new VarveError('E_USAGE', `cannot use ${name} without --restart: nothing is started`, {
      hint: 'add --restart',
    })
  return undefined
}

function healthOf({ healthCmd, healthTcp }: RunFlags): Health {
  if (healthTcp !== undefined) return { kind: 'tcp', port: healthTcp }
  return healthCmd === undefined ? { kind: 'none' } : { kind: 'command', text: healthCmd }
}

function port(value: string): number {
  if (!/^[0-9]{1,5}$/.test(value) || Number(value) < 1 || Number(value) > 65535)
    throw new InvalidArgumentError('It is no port.')
  return Number(value)
}

/** `exitWith` takes the status of a command that ran in a container. */
export function addRunning(
  add: (name: string, description: string) => Command,
  started: Started,
  exitWith: (status: number) => void,
): void {
  for (const [name, verb, description] of [
    ['start', start, 'run what is current, unless it runs'],
    ['restart', restart, 'stop what runs, then run what is current'],
  ] as const)
    engine(running(add(name, description).argument('<target>', TARGET)), 'what runs it this time').action(
      async (target: string, flags: RunFlags) => {
        const parsed = parseTarget(target)
        const options = runOptions(flags)
        const { context, output } = started(flags)
        output.data(await verb(parsed, options, context), render.started)
      },
    )

  add('stop', 'stop what runs: its stop signal, then KILL')
    .argument('<target>', TARGET)
    .option('--stop-timeout <seconds>', 'how long it may take to end; kept (default: 10)', wholeNumber)
    .action(async (target: string, flags: RunFlags) => {
      const parsed = parseTarget(target)
      const { context, output } = started(flags)
      output.data(await stop({ target: parsed, stopSeconds: flags.stopTimeout }, context), render.stopped)
    })

  add('logs', 'what a container says')
    .argument('<target>', TARGET)
    .option('-n, --lines <number>', 'how many lines of it', wholeNumber, 100)
    .option('-f, --follow', 'go on until interrupted')
    .option('--generation <number>', 'of which generation (default: what runs, or ran last)', wholeNumber)
    .action(async (target: string, flags: CommonOptions & { lines: number; follow?: true; generation?: number }) => {
      const { lines, follow = false, generation } = flags
      const parsed = parseTarget(target)
      const { context } = started(silent(flags))
      await logs({ target: parsed, generation, lines, follow }, context, toTerminal(process))
    })

  add('exec', 'run a command in a container that runs; its exit status becomes that of varve')
    .argument('<target>', TARGET)
    .argument('<command...>', 'behind --')
    .option('--stdin', 'the command reads what varve is given')
    .action(async (target: string, words: string[], flags: CommonOptions & { stdin?: true }) => {
      const parsed = parseTarget(target)
      const { context } = started(silent(flags))
      const stdin = flags.stdin === true ? process.stdin : undefined
      exitWith(await exec({ target: parsed, words, stdin }, context, toStreams(process)))
      // what was not read must not keep the process
      if (stdin !== undefined) stdin.destroy()
    })
}

/** Standard error is for what runs there. */
function silent(flags: CommonOptions): CommonOptions {
  return flags.progress === 'auto' ? { ...flags, progress: 'off' } : flags
}

function toStreams({ stdout, stderr }: NodeJS.Process): Listener {
  return (piece, stream) => void (stream === 'stdout' ? stdout : stderr).write(piece)
}

/** A log is a container's own word: at a terminal it orders nothing. */
function toTerminal(process: NodeJS.Process): Listener {
  if (!process.stdout.isTTY) return toStreams(process)
  return (piece) => {
    const lines = piece.toString('utf8').split('\n')
    process.stdout.write(lines.map((line) => escapeControls(line.replaceAll('\t', '        '))).join('\n'))
  }
}

// The options of push, plan and pack, and what they say of the generation to be made.
import { InvalidArgumentError, Option, type Command } from 'commander'
import { VarveError } from '../errors.ts'
import { parseSource, parseTarget, SOURCES } from '../model/names.ts'
import { LOSSES, type Loss } from '../plan/loss.ts'
import { parseMtimePolicy } from '../plan/mtimes.ts'
import type { ShipOptions } from '../verbs/prepare.ts'
import type { CommonOptions } from './context.ts'

export type ShipFlags = CommonOptions & {
  rootfs?: 'overlay' | 'copy'
  allowLoss: Loss[]
  allowDevices?: true
  mtime: string
  cmd?: string[]
  env: string[]
  cwd?: string
  user?: string
  dryRun?: true
}

export type PackFlags = ShipFlags & { output: string; for?: string; base?: string }

export const SOURCE = SOURCES.replace('tar:-', 'tar:- (standard input)')
export const TARGET = '[user@]host:NAME, ssh://[user@]host[:port]/NAME or local:NAME'

/** How a delta travels. */
export function link(command: Command): Command {
  return command
    .option(
      '--retries <number>',
      'how often a lost connection is made again, after 1, 2, 4 ... seconds',
      wholeNumber,
      5,
    )
    .option('--bwlimit <rate>', 'bytes a second that a delta may take: 500k, 2M; a bare number is KiB', rate)
}

export function ship(command: Command): Command {
  return made(command.argument('<source>', SOURCE).argument('<target>', TARGET)).option('-n, --dry-run', 'plan only')
}

/** What a generation is made of. */
export function made(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--rootfs <kind>',
        'how a generation gets its root filesystem (default: overlay where the host has it)',
      ).choices(['overlay', 'copy']),
    )
    .addOption(
      new Option('--allow-loss <kinds>', `give up what BusyBox tar cannot restore: ${LOSSES.join(',')}`)
        .argParser(losses)
        .default([], 'nothing'),
    )
    .option('--allow-devices', 'ship device nodes that reach hardware')
    .option(
      '--cmd <word...>',
      'the command and its arguments, -x as --cmd=-x (default: what an image says, else /bin/sh)',
    )
    .option('--env <name=value>', 'a variable; may be given again', collect, [])
    .option('--cwd <dir>', 'the working directory (default: what an image says, else /)')
    .option('--user <uid[:gid]>', 'who runs the command (default: what an image says, else 0:0)')
    .option('--mtime <policy>', 'keep, zero, clamp=EPOCH, or clamp for clamp=$SOURCE_DATE_EPOCH', 'keep')
    .option('--platform <os/arch>', 'which image of several, e.g. linux/arm64 (default: this machine)')
    .option('--insecure', 'ask a registry over plain HTTP')
    .addOption(
      new Option('--effort <effort>', 'time against bytes: what arrives soonest, or ever')
        .choices(['fast', 'auto', 'max'])
        .default('auto'),
    )
    .option('--no-pause', 'let a container run on while it is read')
}

export function shipOptions(
  source: string,
  target: string,
  { flags, epoch }: { flags: ShipFlags; epoch: string | undefined },
): ShipOptions {
  const parsed = parseSource(source)
  const process = { args: flags.cmd, env: flags.env, cwd: flags.cwd, user: flags.user }
  const own = Object.entries({
    '--cmd': flags.cmd,
    '--env': flags.env.length > 0 ? 'given' : undefined,
    '--cwd': flags.cwd,
    '--user': flags.user,
  }).find(([, value]) => value !== undefined)
  if (parsed.kind === 'bundle' && own !== undefined)
    throw new VarveError('E_USAGE', `cannot use ${own[0]} with a bundle: its config.json says what runs`, {
      hint: "change the bundle's config.json",
    })
  return {
    source: parsed,
    target: parseTarget(target),
    rootfs: flags.rootfs,
    allowLoss: new Set(flags.allowLoss),
    allowDevices: flags.allowDevices === true,
    mtime: parseMtimePolicy(flags.mtime, epoch),
    process,
  }
}

export function collect(value: string, before: string[]): string[] {
  return [...before, value]
}

/** As rsync has it: KiB, or with k, M or G behind it. */
function rate(value: string): number {
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,3})?)([kKmMgG]?)$/.exec(value)
  const bytes = Number(match?.[1]) * 1024 ** ('kmg'.indexOf(match?.[2]?.toLowerCase() || 'k') + 1)
  if (match === null || bytes < 1024) throw new InvalidArgumentError('Write for example 500k or 2M; the least is 1k.')
  return bytes
}

export function wholeNumber(value: string): number {
  if (!/^[0-9]{1,9}$/.test(value)) throw new InvalidArgumentError('It is no whole number.')
  return Number(value)
}

function losses(value: string): Loss[] {
  return value.split(',').map((word) => {
    const loss = LOSSES.find((known) => known === word)
    if (loss === undefined) throw new InvalidArgumentError(`Use ${LOSSES.join(' or ')}.`)
    return loss
  })
}

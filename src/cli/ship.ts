// The options of push, plan and pack, and what they say of the generation to be made.
import { InvalidArgumentError, Option, type Command } from 'commander'
import { parseSource, parseTarget, SOURCES } from '../model/names.ts'
import { parsePersist } from '../model/service.ts'
import { LOSSES, type Loss } from '../plan/loss.ts'
import { parseMtimePolicy } from '../plan/mtimes.ts'
import { checkSettings, ENGINES, REWRITES, type Settings } from '../verbs/config.ts'
import type { ShipOptions } from '../verbs/prepare.ts'
import type { CommonOptions } from './context.ts'

export type ShipFlags = CommonOptions & {
  rootfs?: 'overlay' | 'copy'
  allowLoss: Loss[]
  allowDevices?: true
  mtime: string
  config?: string
  configPatch: string[]
  forgetOptions?: true
  engine?: Settings['engine']
  net?: string
  cmd?: string[]
  env: string[]
  cwd?: string
  user?: string
  mount: string[]
  capAdd: string[]
  capDrop: string[]
  keep: string[]
  persist: string[]
  unpersist: string[]
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
  return made(command.argument('<source>', SOURCE).argument('<target>', TARGET))
    .option(
      '--persist <dir>',
      'a directory of the container that outlives its generations, filled from the image once; kept; may be given again',
      persistPath,
      [],
    )
    .option('--unpersist <dir>', 'no more; its contents stay on the host', persistPath, [])
    .option('-n, --dry-run', 'plan only')
}

/** What a generation is made of. */
export function made(command: Command): Command {
  return configured(command)
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

/** What config.json is made of; from --cmd on all is kept with the container and holds at each push until it is given anew. */
function configured(command: Command): Command {
  return command
    .option('--config <file>', "a config.json in place of the container's, bundle's or image's")
    .option(
      '--cmd <word...>',
      'the command and its arguments, -x as --cmd=-x (default: what the source says, else /bin/sh)',
    )
    .option('--env <name=value>', 'a variable; may be given again', collect, [])
    .option('--cwd <dir>', 'the working directory (default: what the source says, else /)')
    .option('--user <user[:group]>', "who runs the command, by number or by name in the image's own etc/passwd")
    .option(
      '--mount <src:dst[:ro]>',
      'a path of the host in the container, none:DST for no mount; may be given again',
      collect,
      [],
    ) // prettier-ignore
    .option('--net <network>', "host (the default), none, or path:FILE for a namespace's file")
    .option('--cap-add <capability>', 'a right that the process has besides, or ALL; may be given again', collect, [])
    .option('--cap-drop <capability>', 'a right that the process has not, or ALL; may be given again', collect, [])
    .option(
      '--config-patch <file>',
      'a JSON merge patch (RFC 7396), laid over config.json last; may be given again',
      collect,
      [],
    ) // prettier-ignore
    .addOption(
      new Option('--engine <engine>', 'what is to run it (default: what the host has, in this order)').choices(ENGINES),
    ) // prettier-ignore
    .option('--keep <rewrite>', `leave as the source has it: ${REWRITES.join(', ')}; may be given again`, collect, [])
    .option('--forget-options', 'nothing that earlier pushes were given of these holds any more')
}

function settingsOf({ cmd, cwd, user, net, engine, env, mount, capAdd, capDrop, keep }: ShipFlags): Settings {
  const words = Object.entries({ cmd, cwd, user, net, engine }).filter(([, word]) => word !== undefined)
  const lists = Object.entries({ env, mount, capAdd, capDrop, keep }).filter(([, list]) => list.length > 0)
  const settings = Object.fromEntries([...words, ...lists]) as Settings
  checkSettings(settings)
  return settings
}

export function shipOptions(
  source: string,
  target: string,
  { flags, epoch }: { flags: ShipFlags; epoch: string | undefined },
): ShipOptions {
  return {
    source: parseSource(source),
    target: parseTarget(target),
    rootfs: flags.rootfs,
    allowLoss: new Set(flags.allowLoss),
    allowDevices: flags.allowDevices === true,
    mtime: parseMtimePolicy(flags.mtime, epoch),
    config: {
      configFile: flags.config,
      patchFiles: flags.configPatch,
      settings: settingsOf(flags),
      forget: flags.forgetOptions === true,
    },
    persist: flags.persist ?? [],
    unpersist: flags.unpersist ?? [],
  }
}

function persistPath(value: string, before: string[]): string[] {
  return [...before, parsePersist(value)]
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

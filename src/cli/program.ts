// The commands and their options, by commander; each is handed to its verb.
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { VarveError } from '../errors.ts'
import { parseHost, parseSource, parseTarget, SOURCES } from '../model/names.ts'
import { LOSSES, type Loss } from '../plan/loss.ts'
import { parseMtimePolicy } from '../plan/mtimes.ts'
import { cache } from '../verbs/cache.ts'
import { doctor } from '../verbs/doctor.ts'
import { gc } from '../verbs/gc.ts'
import { plan } from '../verbs/plan.ts'
import type { ShipOptions } from '../verbs/prepare.ts'
import { push } from '../verbs/push.ts'
import { rm } from '../verbs/rm.ts'
import { rollback } from '../verbs/rollback.ts'
import { status } from '../verbs/status.ts'
import { verify } from '../verbs/verify.ts'
import { makeContext, type CommonOptions } from './context.ts'
import { Output } from './output.ts'
import * as render from './render.ts'
import * as renderHost from './render-host.ts'

type ShipFlags = CommonOptions & {
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

const SOURCE = SOURCES.replace('tar:-', 'tar:- (standard input)')
const TARGET = '[user@]host:NAME, ssh://[user@]host[:port]/NAME or local:NAME'
const HOST = '[user@]host[:NAME], ssh://[user@]host[:port][/NAME] or local[:NAME]'

/** Runs the command line of `process`; the exit status. For `undo` see Context. Throws VarveError and CommanderError. */
export async function makeProgram(process: NodeJS.Process, undo: Set<() => Promise<void>>): Promise<number> {
  let exit = 0
  const program = new Command('varve')
    .description(
      "Ships a container's root filesystem to a host without a container engine, and sends only what that host lacks.",
    )
    .version('0.1.0')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => process.stdout.write(text),
      writeErr: (text) => process.stderr.write(text),
      // main says it, with what stood on the command line escaped
      outputError: () => {},
    })
    .addHelpText(
      'after',
      `
Examples:
  varve push rootfs:./rootfs me@host:fossil     send, verify, switch
  varve plan tar:image.tar me@host:fossil       what that would do and cost
  varve push docker://debian:12 me@host:debian  an image from a registry, layer by layer
  varve push container:app me@host:app          a container of Docker or Podman as it is now
  varve status host                             what the host holds
  varve rollback host:fossil                    the generation before

Exit status: 0 ok, 1 bug, 2 usage, 3 source or content, 4 the host cannot, 5 connection (run again),
6 locked or changed since the plan, 130 interrupted.`,
    )

  const add = (name: string, description: string): Command => common(program.command(name).description(description))
  const started = (options: CommonOptions): { context: ReturnType<typeof makeContext>; output: Output } => {
    const output = new Output(process, options)
    return { context: makeContext(process, options, { output, undo }), output }
  }

  ship(add('push', 'plan, send, switch; prints what it cost')).action(
    async (source: string, target: string, flags: ShipFlags) => {
      const options = shipOptions(source, target, { flags, epoch: process.env['SOURCE_DATE_EPOCH'] })
      const { context, output } = started(flags)
      if (flags.dryRun === true)
        output.data(await plan({ ...options, output: undefined }, context), render.planned(false))
      else output.data(await push(options, context), render.pushed)
    },
  )

  ship(add('plan', 'what push would do and the exact bytes of its delta; changes nothing'))
    .option('-o, --output <file>', 'write the delta to a new file')
    .option('--itemize', 'list every path')
    .option('--detailed-exitcode', 'exit 0 without and 10 with changes')
    .action(
      async (
        source: string,
        target: string,
        flags: ShipFlags & { output?: string; itemize?: true; detailedExitcode?: true },
      ) => {
        const options = shipOptions(source, target, { flags, epoch: process.env['SOURCE_DATE_EPOCH'] })
        const { context, output } = started(flags)
        const planned = await plan({ ...options, output: flags.output }, context)
        output.data(planned, render.planned(flags.itemize === true))
        if (flags.detailedExitcode === true && planned.changes) exit = 10
      },
    )

  add('status', 'containers of a host, what they share, what each takes there, and what is not as it was committed')
    .argument('<host>', HOST)
    .action(async (host: string, flags: CommonOptions) => {
      const at = parseHost(host)
      const { context, output } = started(flags)
      output.data(
        await status({ host: at.host, container: at.container }, context),
        renderHost.status(at.container !== undefined),
      )
    })

  add('verify', 're-hash on the host what its containers stand on')
    .argument('<host>', HOST)
    .option('--repair', 'set damaged trees aside, so that the next push heals them')
    .action(async (host: string, flags: CommonOptions & { repair?: true }) => {
      const at = parseHost(host)
      const { context, output } = started(flags)
      const verified = await verify({ host: at.host, container: at.container, repair: flags.repair === true }, context)
      output.data(verified, renderHost.verified)
      if (verified.containers.some(({ state, current }) => state === 'bad' || (current && state === 'missing')))
        exit = 3
    })

  add('rollback', 'make an older generation current again, as a new one')
    .argument('<target>', TARGET)
    .option('--to <number>', 'which generation; the one before the current when left out', wholeNumber)
    .action(async (target: string, flags: CommonOptions & { to?: number }) => {
      if (flags.to === 0) throw new VarveError('E_USAGE', 'cannot roll back to generation 0: generations begin at 1')
      const parsed = parseTarget(target)
      const { context, output } = started(flags)
      output.data(await rollback({ target: parsed, to: flags.to }, context), render.rolledBack)
    })

  add('gc', 'free what no generation or running container needs')
    .argument('<host>', HOST)
    .option('--keep <number>', 'generations to keep of each container, the current one included', wholeNumber, 3)
    .option('-n, --dry-run', 'say what would go')
    .action(async (host: string, flags: CommonOptions & { keep: number; dryRun?: true }) => {
      if (flags.keep < 1)
        throw new VarveError('E_USAGE', 'cannot keep 0 generations: the current one always stays', {
          hint: 'varve rm TARGET removes a container',
        })
      const at = parseHost(host)
      const { context, output } = started(flags)
      output.data(
        await gc({ host: at.host, keep: flags.keep, dryRun: flags.dryRun === true }, context),
        render.collected,
      )
    })

  add('rm', 'remove a container and its generations')
    .argument('<target>', TARGET)
    .action(async (target: string, flags: CommonOptions) => {
      const parsed = parseTarget(target)
      const { context, output } = started(flags)
      output.data(await rm(parsed, context), render.removed)
    })

  add('cache', 'what is kept here of what was sent, to make the next delta small')
    .addArgument(new Argument('<action>', 'ls says how much it is, prune frees it').choices(['ls', 'prune']))
    .option('--keep <megabytes>', 'what prune leaves, of what was used last', wholeNumber, 0)
    .action((action: string, flags: CommonOptions & { keep: number }) => {
      const { context, output } = started(flags)
      output.data(cache(action === 'prune' ? flags.keep * 1e6 : undefined, context), render.cached)
    })

  add('doctor', 'what a host has, what it lacks, and what that costs')
    .argument('[host]', HOST, 'local')
    .action(async (host: string, flags: CommonOptions) => {
      const at = parseHost(host)
      const { context, output } = started(flags)
      const diagnosis = await doctor(at.host, context)
      output.data(diagnosis, render.diagnosis)
      if (diagnosis.findings.some(({ level }) => level === 'fatal')) exit = 4
    })

  await program.parseAsync(process.argv)
  return exit
}

function common(command: Command): Command {
  return command
    .option('--store <dir>', 'the store on the host', '/var/lib/varve')
    .option('--bundle-dir <dir>', 'where a link to the current bundle is kept for engines', '/var/lib/machines')
    .addOption(new Option('--format <format>', 'what is printed').choices(['text', 'json']).default('text'))
    .option('--json', 'short for --format json')
    .addOption(
      new Option('--progress <kind>', 'how progress is shown').choices(['auto', 'bar', 'lines', 'off']).default('auto'),
    )
    .option('-v, --verbose', 'say what was found and decided')
    .option('-q, --quiet', 'say errors only')
    .option('-i, --identity <file>', 'a private key for SSH; may be given again', collect, [])
    .option('-F, --ssh-config <file>', 'an ssh_config file instead of the usual ones')
    .option('--accept-new', 'trust the key of a host that is not in known_hosts yet')
    .option('--state-dir <dir>', 'the local manifest (default: $XDG_STATE_HOME/varve or ~/.local/state/varve)')
    .option('--debug', 'show stack traces')
}

function ship(command: Command): Command {
  return command
    .argument('<source>', SOURCE)
    .argument('<target>', TARGET)
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
    .option('--no-pause', 'let a container run on while it is read')
    .option('-n, --dry-run', 'plan only')
}

function shipOptions(
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

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}

function wholeNumber(value: string): number {
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

// The commands and their options, by commander; each is handed to its verb.
import { basename } from 'node:path'
import { Argument, Command, Help, Option, type HelpConfiguration } from 'commander'
import { VarveError } from '../errors.ts'
import { parseHost, parseSource, parseTarget } from '../model/names.ts'
import { apply } from '../verbs/apply.ts'
import { cache } from '../verbs/cache.ts'
import { doctor } from '../verbs/doctor.ts'
import { gc } from '../verbs/gc.ts'
import { pack } from '../verbs/pack.ts'
import { plan } from '../verbs/plan.ts'
import { push } from '../verbs/push.ts'
import { rm } from '../verbs/rm.ts'
import { rollback } from '../verbs/rollback.ts'
import { status } from '../verbs/status.ts'
import { verify } from '../verbs/verify.ts'
import { makeContext, type CommonOptions } from './context.ts'
import { Output } from './output.ts'
import * as render from './render.ts'
import * as renderHost from './render-host.ts'
import { addRunning, restartOptions, restarting, type RestartFlags, type Started } from './run.ts'
import {
  SOURCE,
  TARGET,
  collect,
  link,
  made,
  ship,
  shipOptions,
  wholeNumber,
  type PackFlags,
  type ShipFlags,
} from './ship.ts'

const HOST = '[user@]host[:NAME], ssh://[user@]host[:port][/NAME] or local[:NAME]'

/** Runs the command line of `process`; the exit status. For `undo` see Context. Throws VarveError and CommanderError. */
export async function makeProgram(process: NodeJS.Process, undo: Set<() => Promise<void>>): Promise<number> {
  let exit = 0
  const program = new Command('varve')
    .description(
      "Ships a container's root filesystem to a host without a container engine, and sends only what that host lacks.",
    )
    .version('0.1.0')
    .configureHelp(HELP)
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
  varve push rootfs:./rootfs me@host:fossil --restart --health-tcp 8080
  varve logs me@host:fossil -f                  what it says
  varve rollback host:fossil --restart          the generation before, and run it

Exit status: 0 ok, 1 bug, 2 usage, 3 source or content, 4 the host cannot, 5 connection (run again),
6 locked or changed since the plan, 7 not well: what ran before runs again, 130 interrupted.`,
    )

  const add = (name: string, description: string): Command => common(program.command(name).description(description))
  const started: Started = (options) => {
    const output = new Output(process, options)
    return { context: makeContext(process, options, { output, undo }), output }
  }

  restarting(link(ship(add('push', 'plan, send, switch; prints what it cost')))).action(
    async (source: string, target: string, flags: ShipFlags & RestartFlags) => {
      const options = shipOptions(source, target, { flags, epoch: process.env['SOURCE_DATE_EPOCH'] })
      const restart = restartOptions(flags)
      const { context, output } = started(flags)
      if (flags.dryRun === true)
        output.data(await plan({ ...options, output: undefined }, context), render.planned(false))
      else output.data(await push({ ...options, restart }, context), render.pushed)
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

  made(add('pack', 'the delta of a source as a file, which also applies itself: sh FILE').argument('<source>', SOURCE))
    .requiredOption('-o, --output <file>', 'a new file; without --for its name says the name of the container')
    .option('--for <target>', `what the host holds is asked there: ${TARGET}`)
    .option('--base <source>', 'the host is taken to hold what this source is, as varve pushed it')
    .action(async (source: string, flags: PackFlags) => {
      if (flags.for !== undefined && flags.base !== undefined)
        throw new VarveError('E_USAGE', 'cannot use --for and --base at once', { hint: 'leave out one of them' })
      const target = flags.for ?? `local:${basename(flags.output).replace(/\..*$/, '')}`
      const options = shipOptions(source, target, { flags, epoch: process.env['SOURCE_DATE_EPOCH'] })
      const { context, output } = started(flags)
      const base = flags.base === undefined ? undefined : ({ kind: 'source', source: parseSource(flags.base) } as const)
      const against = flags.for === undefined ? base : ({ kind: 'host' } as const)
      output.data(await pack({ ...options, output: flags.output, against }, context), render.packed)
    })

  restarting(link(add('apply', 'a file that pack made, sent to a host and switched to')))
    .argument('<file>', 'what varve pack wrote; a program, so of your own making or of somebody whom you trust')
    .argument('<target>', TARGET)
    .action(async (file: string, target: string, flags: RestartFlags) => {
      const parsed = parseTarget(target)
      const restart = restartOptions(flags)
      const { context, output } = started(flags)
      output.data(await apply({ file, target: parsed, restart }, context), render.applied)
    })

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

  restarting(
    add('rollback', 'make an older generation current again, as a new one')
      .argument('<target>', TARGET)
      .option('--to <number>', 'which generation; the one before the current when left out', wholeNumber),
  ).action(async (target: string, flags: RestartFlags & { to?: number }) => {
    if (flags.to === 0) throw new VarveError('E_USAGE', 'cannot roll back to generation 0: generations begin at 1')
    const parsed = parseTarget(target)
    const restart = restartOptions(flags)
    const { context, output } = started(flags)
    output.data(await rollback({ target: parsed, to: flags.to, restart }, context), render.rolledBack)
  })

  addRunning(add, started, (status) => {
    exit = status
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
    .option('--data', 'and what it persisted')
    .action(async (target: string, flags: CommonOptions & { data?: true }) => {
      const parsed = parseTarget(target)
      const { context, output } = started(flags)
      output.data(await rm({ target: parsed, data: flags.data === true }, context), render.removed)
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

const COMMON = 'Options of all commands:'

/** What a command has of its own stands first; a list that is empty is no default to speak of. */
const HELP: HelpConfiguration = {
  groupItems(all, shown, groupOf) {
    const groups = Help.prototype.groupItems(all, shown, groupOf)
    const last = groups.get(COMMON)
    if (groups.delete(COMMON) && last !== undefined) groups.set(COMMON, last)
    return groups
  },
  optionDescription(option) {
    return Help.prototype.optionDescription.call(this, option).replace(' (default: [])', '')
  },
}

function common(command: Command): Command {
  return command
    .optionsGroup(COMMON)
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
    .optionsGroup('Options:')
}

// doctor: what a host has, what it lacks, and what each lack costs.
import type { Survey } from '../host/survey.ts'
import { escapeControls } from '../model/bytes.ts'
import { hostText, type HostRef } from '../model/names.ts'
import { connect, type Context } from './context.ts'

export type Finding = { readonly level: 'ok' | 'cost' | 'fatal'; readonly what: string; readonly hint?: string }
export type Diagnosis = {
  readonly host: string
  readonly kernel: string
  readonly machine: string
  readonly findings: readonly Finding[]
}

export async function doctor(host: HostRef, context: Context): Promise<Diagnosis> {
  await using connected = await connect(host, context)
  const [survey, { records }] = await Promise.all([connected.survey(undefined), connected.session.ask(['engines'])])
  const engines = records.map(([, command = '', version = '-']) => `${command}${version === '-' ? '' : ` ${version}`}`)
  return {
    host: hostText(host),
    kernel: survey.tools.kernel,
    machine: survey.tools.machine,
    findings: [...findingsOf(survey), ...runningOf(survey, engines), ...storeOf(survey)],
  }
}

function* findingsOf({ tools }: Survey): Generator<Finding> {
  yield { level: 'ok', what: 'became root' }
  if (tools.tar === 'none') yield { level: 'fatal', what: 'no tar', hint: 'apt-get install tar' }
  else if (tools.tar === 'busybox')
    yield {
      level: 'cost',
      what: "tar is BusyBox's: no extended attributes, no mtimes below a second",
      hint: 'install GNU tar',
    }
  else yield { level: 'ok', what: 'GNU tar' }
  if (tools.missing.length > 0)
    yield {
      level: 'fatal',
      what: `lacks ${tools.missing.join(', ')}`,
      hint: 'apt-get install coreutils findutils sed mawk mount',
    }
  const codec = (['zstd', 'xz', 'gzip'] as const).find(tools.has)
  if (codec === 'zstd') yield { level: 'ok', what: 'zstd' }
  else
    yield {
      level: 'cost',
      what:
        codec === undefined ? 'no zstd, xz or gzip: deltas travel uncompressed' : `no zstd: deltas travel as ${codec}`,
      hint: 'apt-get install zstd',
    }
  if (tools.has('overlay') && tools.filesystem !== 'overlayfs') yield { level: 'ok', what: 'overlayfs' }
  else
    yield {
      level: 'cost',
      what: 'no overlayfs for the store: every generation is a copy',
      hint: 'put the store on ext4, xfs, btrfs or tmpfs with --store DIR',
    }
  if (!tools.has('flock'))
    yield { level: 'cost', what: 'no flock: locks by a directory in /run', hint: 'apt-get install util-linux' }
  if (!tools.has('getfattr'))
    yield {
      level: 'cost',
      what: 'no getfattr: extended attributes are restored but not read back',
      hint: 'apt-get install attr',
    }
}

/** What runs containers there, and what a config.json cannot ask of it. */
function* runningOf({ tools: { facts, has } }: Survey, engines: readonly string[]): Generator<Finding> {
  if (engines.length > 0) yield { level: 'ok', what: `engines: ${escapeControls(engines.join(', '))}` }
  else yield { level: 'cost', what: 'no engine: nothing can run what is pushed', hint: 'apt-get install runc' }
  const { cgroup, controllers, seccomp, limits } = facts
  if (cgroup === 'none')
    yield { level: 'cost', what: 'no cgroups: nothing can be limited', hint: 'mount -t cgroup2 none /sys/fs/cgroup' }
  else {
    const version = { v1: 'version 1', v2: 'version 2', hybrid: 'version 1 beside version 2', unknown: '?' }[cgroup]
    yield { level: 'ok', what: `cgroups of ${version}: ${[...controllers].join(', ') || 'no controllers'}` }
    const lacking = (['memory', 'cpu', 'pids'] as const).filter((name) => !controllers.has(name))
    if (lacking.length > 0)
      yield {
        level: 'cost',
        what: `no cgroup controller for ${lacking.join(', ')}: such limits are left out of config.json`,
        hint: 'cgroup_enable=memory on the kernel command line, where it is memory',
      }
  }
  if (cgroup === 'hybrid' && has('crun') && !has('runc'))
    yield { level: 'cost', what: 'crun refuses cgroups of both versions', hint: 'apt-get install runc' }
  if (!seccomp) yield { level: 'cost', what: 'no seccomp: filters of system calls are left out of config.json' }
  const most = limits.get('NPROC')
  if (most !== undefined)
    yield {
      level: 'cost',
      what: `root cannot raise limits: at most ${most} processes, ${limits.get('NOFILE')} open files`,
    }
}

function* storeOf({ tools, epoch, trees }: Survey): Generator<Finding> {
  yield { level: 'ok', what: epoch === undefined ? 'no store yet' : `store with ${trees.length} trees` }
  if (tools.freeKib !== undefined)
    yield { level: tools.freeKib < 262_144 ? 'cost' : 'ok', what: `${Math.floor(tools.freeKib / 1024)} MiB free` }
}

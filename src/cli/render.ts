// Results as text for a person; JSON is the form for scripts.
import type { Collected } from '../verbs/gc.ts'
import type { Diagnosis } from '../verbs/doctor.ts'
import type { CacheSize } from '../verbs/cache.ts'
import type { Applied } from '../verbs/apply.ts'
import type { Packed } from '../verbs/pack.ts'
import type { ConfigPlan, Planned } from '../verbs/plan.ts'
import type { Report } from '../verbs/report.ts'
import type { RolledBack } from '../verbs/rollback.ts'
import { escapeControls } from '../model/bytes.ts'
import { keepsVolume } from '../model/service.ts'
import { runLine } from './render-run.ts'
import { amount, table } from './words.ts'

export function pushed(report: Report): string {
  const { entries, bytes, seconds } = report
  const where = `${report.host}:${report.container}`
  if (report.generation === report.previous)
    return `${where} is up to date: generation ${report.generation}, ${entries.total} entries\n${wire(report)}${runLine(report)}`
  return (
    `${where} is at generation ${report.generation}${report.previous === 0 ? '' : ` (was ${report.previous})`}\n` +
    `  entries  ${changesText(report)}\n` +
    `  contents ${amount(bytes.changed)} of ${amount(bytes.rootfs)} were new to the host, ${amount(bytes.delta)} as a delta\n` +
    wire(report) +
    `  seconds  scan ${seconds.scan}, plan ${seconds.plan}, transfer ${seconds.transfer}, apply ${seconds.apply}, total ${seconds.total}\n` +
    runLine(report)
  )
}

function wire({ bytes, roundTrips, host }: Report): string {
  return host === 'local'
    ? ''
    : `  on wire  ${amount(bytes.sent)} sent, ${amount(bytes.received)} received, ${roundTrips} round trips\n`
}

function changesText({ entries }: Report): string {
  const parts = [`${entries.total} in all`, `${entries.unchanged} unchanged`]
  for (const key of ['added', 'changed', 'metadata', 'removed'] as const)
    if (entries[key] > 0) parts.push(`${entries[key]} ${key === 'metadata' ? 'with new metadata' : key}`)
  return parts.join(', ')
}

export function planned(itemize: boolean): (planned: Planned) => string {
  return ({ report, changes, items, cost, config }) => {
    if (!changes) return `${report.host}:${report.container} is up to date: nothing would be sent\n`
    const listed = itemize
      ? items
          .map(
            (item) =>
              `  ${item.action.padEnd(5)} ${item.path === '' ? '.' : item.path}${item.from === undefined ? '' : ` (from ${item.from})`}\n`,
          )
          .join('')
      : ''
    return (
      `${report.host}:${report.container} would be at generation ${report.generation}\n${listed}` +
      `  entries  ${changesText(report)}\n` +
      `  contents ${amount(report.bytes.changed)} of ${amount(report.bytes.rootfs)} are new to the host\n` +
      `  delta    ${report.bytes.delta} bytes\n` +
      configText(config) +
      costText(report, cost)
    )
  }
}

/** What differs from what the source says, by the name and the reason of each change; JSON has the values whole. */
function configText({ from, engine, kept, volumes, notes, changes }: ConfigPlan): string {
  const groups = [...new Set(changes.map(({ rewrite }) => rewrite))].map((name) => {
    const own = changes.filter(({ rewrite }) => rewrite === name)
    const lines = own.map(({ path, was, now }) => `       ${escapeControls(path)}: ${change(was, now)}\n`)
    return `     ${name}, since ${own[0]?.why ?? ''}\n${lines.join('')}`
  })
  const places = volumes.map(({ path, mounted }) => {
    const keeps = mounted === 'memory' ? ` (${keepsVolume(path)} keeps it)` : ''
    return `     volume ${escapeControls(path)}: ${escapeControls(mounted)}${keeps}\n`
  })
  const options =
    kept.length > 0 ? `     from earlier pushes: ${kept.map(optionOf).join(', ')} (--forget-options)\n` : ''
  const told = notes.map((note) => `     note: ${note}\n`)
  return `  config   ${from}, for ${engine === 'none' ? 'no engine' : engine}\n${groups.join('')}${places.join('')}${told.join('')}${options}`
}

function optionOf(setting: string): string {
  return setting === 'patch'
    ? '--config-patch'
    : `--${setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

function change(was: unknown, now: unknown): string {
  // JSON's own backslashes are no danger
  const text = (value: unknown): string =>
    short(
      JSON.stringify(value)
        .split('\\')
        .map((part) => escapeControls(part))
        .join('\\'),
    )
  if (now === null) return `${text(was)} goes`
  return was === null ? `${text(now)} comes` : `${text(was)} becomes ${text(now)}`
}

/** The dearest of each; JSON has them all. */
const MOST = 5

function costText({ layers }: Report, { packages, files }: Planned['cost']): string {
  const sent = layers.filter(({ state }) => state === 'sent')
  const owned = packages.some(({ name }) => name !== null)
  return (
    top(`${sent.length} of ${layers.length} layers, as a delta`, {
      of: layers.length > 1 ? sent.toSorted((a, b) => b.delta - a.delta) : [],
      line: ({ delta, origin, history }) => [amount(delta), short(history ?? origin)],
    }) +
    top('packages, not compressed', {
      of: owned ? packages : [],
      line: ({ name, version, files: count, bytes }) => [
        amount(bytes),
        `${name ?? 'of no package'}${version === null ? '' : ` ${version}`}, ${count} ${count === 1 ? 'file' : 'files'}`,
      ],
    }) +
    top('files, not compressed', { of: files, line: ({ path, bytes }) => [amount(bytes), path] })
  )
}

function top<Item>(
  title: string,
  { of, line }: { readonly of: readonly Item[]; readonly line: (item: Item) => readonly string[] },
): string {
  if (of.length === 0) return ''
  const left = of.length - MOST
  const shown = table(of.slice(0, MOST).map((item) => ['   ', ...line(item)]))
  return `  largest ${title}:\n${shown}${left > 0 ? `     and ${left} more (--json lists all)\n` : ''}`
}

function short(text: string): string {
  return text.length > 100 ? `${text.slice(0, 97)}...` : text
}

export function rolledBack(done: RolledBack): string {
  return `${done.host}:${done.container} is at generation ${done.generation}, the same as ${done.from}\n${runLine(done)}`
}

export function packed({ file, bytes, against, container, layers }: Packed): string {
  const sent = layers.filter(({ delta }) => delta > 0).length
  return (
    `wrote ${file}: ${amount(bytes)}, ${sent} of ${layers.length} layers, against ${against}\n` +
    `apply it there: sudo sh ${file}\nor from here:   varve apply ${file} HOST:${container}\n`
  )
}

export function applied(done: Applied): string {
  const { generation, previous, bytes } = done
  const where = `${done.host}:${done.container}`
  const wired =
    done.host === 'local' ? '' : `  on wire  ${amount(bytes.sent)} sent, ${amount(bytes.received)} received\n`
  if (generation === previous) return `${where} is up to date: generation ${generation}\n${wired}${runLine(done)}`
  return `${where} is at generation ${generation}${previous === 0 ? '' : ` (was ${previous})`}\n${wired}${runLine(done)}`
}

export function collected(done: Collected): string {
  if (done.generations.length + done.trees.length === 0) return `${done.host}: nothing to free\n`
  const verb = done.dryRun ? 'would free' : 'freed'
  const lines = [
    ...done.generations.map(({ container, number }) => `${verb} generation ${number} of ${container}\n`),
    ...done.trees.map(({ id, bytes }) => `${verb} tree ${id.slice(0, 12)} (${amount(bytes)} with what it shares)\n`),
  ]
  return lines.join('')
}

export function removed({ host, container }: { host: string; container: string }): string {
  return `removed ${host}:${container}; varve gc ${host} frees its trees\n`
}

export function diagnosis(found: Diagnosis): string {
  const marks = { ok: 'ok   ', cost: 'cost ', fatal: 'FATAL' } as const
  const lines = found.findings.map(
    ({ level, what, hint }) => `  ${marks[level]} ${what}${hint === undefined || level === 'ok' ? '' : ` (${hint})`}\n`,
  )
  return `${found.host}: kernel ${found.kernel}, ${found.machine}\n${lines.join('')}`
}

export function cached({ contents, packs, bytes, freed }: CacheSize & { readonly freed: number }): string {
  return `${freed > 0 ? `freed ${amount(freed)}\n` : ''}${amount(bytes)} in ${packs} packs, contents of ${contents} files\n`
}

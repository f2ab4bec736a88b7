// Results as text for a person; JSON is the form for scripts.
import type { Collected } from '../verbs/gc.ts'
import type { Diagnosis } from '../verbs/doctor.ts'
import type { Planned } from '../verbs/plan.ts'
import type { Report } from '../verbs/report.ts'
import type { RolledBack } from '../verbs/rollback.ts'
import type { Status } from '../verbs/status.ts'
import type { Verified } from '../verbs/verify.ts'
import { amount, table } from './words.ts'

export function pushed(report: Report): string {
  const { entries, bytes, seconds } = report
  const where = `${report.host}:${report.container}`
  if (report.generation === report.previous)
    return `${where} is up to date: generation ${report.generation}, ${entries.total} entries\n${wire(report)}`
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

function runLine({ bundle, container }: { bundle: string; container: string }): string {
  return `run it there: cd ${bundle} && sudo runc run ${container}\n`
}

export function planned(itemize: boolean): (planned: Planned) => string {
  return ({ report, changes, items }) => {
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
      `  delta    ${report.bytes.delta} bytes\n`
    )
  }
}

export function status(status: Status): string {
  if (status.containers.length === 0) return `${status.host} holds no containers\n`
  const rows = status.containers.flatMap((container) => {
    const states = container.generations.map((generation) => [
      container.name,
      String(generation.number),
      generation.number === container.current
        ? generation.rootfs === 'overlay' && !container.mounted
          ? 'current, not mounted'
          : 'current'
        : '',
      generation.rootfs,
      generation.stack.map((id) => id.slice(0, 12)).join(' '),
    ])
    return states.length > 0 ? states : [[container.name, '-', 'nothing committed', '', '']]
  })
  const free = status.freeBytes === undefined ? '' : `, ${amount(status.freeBytes)} free`
  return `${table([['CONTAINER', 'GENERATION', 'STATE', 'ROOTFS', 'LAYERS'], ...rows])}${status.trees} trees in ${status.store} on ${status.host}${free}\n`
}

export function verified({ host, containers }: { host: string; containers: readonly Verified[] }): string {
  if (containers.length === 0) return `${host} holds no containers\n`
  return containers
    .map((found) => {
      const shown = found.differences
        .slice(0, 20)
        .map((difference) => `  ${difference}\n`)
        .join('')
      const more = found.differences.length > 20 ? `  and ${found.differences.length - 20} more\n` : ''
      const next =
        found.state === 'good'
          ? ''
          : found.repaired
            ? '  set aside: push the source again to heal it\n'
            : `  to heal it: varve verify --repair ${host}:${found.container}, then push the source again\n`
      return `${found.container} generation ${found.generation}${found.current ? ' (current)' : ''}: ${found.state}\n${shown}${more}${next}`
    })
    .join('')
}

export function rolledBack(done: RolledBack): string {
  return `${done.host}:${done.container} is at generation ${done.generation}, the same as ${done.from}\n${runLine(done)}`
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

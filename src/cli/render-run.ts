// What was started and stopped, as text for a person.
import type { Started, Stopped, Wrote } from '../verbs/run.ts'
import { amount } from './words.ts'

export function started(done: Started): string {
  const { host, container, generation, engine, downSeconds, previous, wrote, boot } = done
  const what = `${host}:${container} runs generation ${generation} on ${engine}`
  const how =
    downSeconds === null
      ? `, since ${done.since.replace(/\.000Z$/, 'Z')}`
      : previous === 0
        ? `, well after ${downSeconds} s`
        : `, down for ${downSeconds} s (was ${previous})`
  return `${what}${how}\n${wroteText(wrote, previous)}${bootText(boot)}`
}

function wroteText(wrote: Wrote | null, generation: number): string {
  if (wrote === null || wrote.files + wrote.removed === 0) return ''
  const { files, bytes, removed, names } = wrote
  const more = files > names.length ? `, and ${files - names.length} more` : ''
  const gone = removed > 0 ? `, ${removed} removed` : ''
  return (
    `  generation ${generation} wrote ${files} ${files === 1 ? 'file' : 'files'} outside persisted paths, ${amount(bytes)}${gone}: kept with it until gc\n` +
    (names.length > 0 ? `    ${names.join(', ')}${more}\n` : '') +
    `    to carry such state over: --persist DIR\n`
  )
}

function bootText(boot: Started['boot']): string {
  if (boot === null) return ''
  return 'unit' in boot
    ? `  starts with the host: ${boot.unit}\n`
    : `  to start it with the host, add to /etc/rc.local there: ${boot.line}\n`
}

export function stopped({ host, container, generation }: Stopped): string {
  return generation === null
    ? `${host}:${container} does not run\n`
    : `${host}:${container} is stopped, was generation ${generation}\n`
}

/** The command that runs what is current, where it does not run yet. */
export function runLine({
  host,
  container,
  generation,
  bundle,
  runs,
  started: done,
}: {
  readonly host: string
  readonly container: string
  readonly generation: number
  readonly bundle: string
  readonly runs: number | null
  readonly started: Started | null
}): string {
  if (done !== null) return `  running  ${started(done).slice(`${host}:${container} runs `.length)}`
  if (runs === generation) return ''
  if (runs !== null) return `generation ${runs} runs on; to run this one: varve restart ${host}:${container}\n`
  return `to run it: varve start ${host}:${container}, or there: cd ${bundle} && sudo runc run ${container}\n`
}

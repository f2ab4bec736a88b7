// Gets what an address names from a registry, over redirects, and goes on where the line was cut.
import { setTimeout as delay } from 'node:timers/promises'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

export type Get = {
  readonly headers: Readonly<Record<string, string>>
  /** May this address be asked? Only https, but for hosts that may be asked in the clear. */
  readonly allowed: (address: URL) => boolean
}

const MOST_REDIRECTS = 5
const MOST_FAILURES = 4
const FIRST_DELAY_MS = 200
const LONGEST_DELAY_MS = 30_000
const PATIENCE_MS = 60_000
const REDIRECTS = new Set([301, 302, 303, 307, 308])

/** The first answer that is no redirect. Who it is asked for stays with the host that it was meant for. */
export async function get(address: URL, { headers, allowed }: Get): Promise<Response> {
  let at = address
  let sent = headers
  for (let redirects = 0; ; redirects++) {
    const response = await once(at, sent)
    const location = response.headers.get('location')
    if (!REDIRECTS.has(response.status) || location === null) return response
    await response.body?.cancel()
    const next = URL.canParse(location, at.href) ? new URL(location, at) : undefined
    if (next === undefined || !allowed(next) || redirects === MOST_REDIRECTS)
      throw new VarveError(
        'E_REGISTRY',
        `cannot read from ${at.host}: it leads to "${escapeControls(location.slice(0, 200))}", where varve does not go`,
      )
    if (next.origin !== at.origin)
      sent = Object.fromEntries(Object.entries(sent).filter(([name]) => name !== 'authorization'))
    at = next
  }
}

async function once(address: URL, headers: Readonly<Record<string, string>>): Promise<Response> {
  const giveUp = new AbortController()
  const timer = setTimeout(() => giveUp.abort(new Error('it does not answer')), PATIENCE_MS)
  try {
    return await fetch(address, { headers, redirect: 'manual', signal: giveUp.signal })
  } catch (cause) {
    const why = cause instanceof TypeError && cause.cause !== undefined ? cause.cause : cause
    throw new VarveError('E_CONNECT', `cannot reach ${address.host}: ${escapeControls(messageOf(why))}`, { cause })
  } finally {
    clearTimeout(timer)
  }
}

/** Asks again, later each time, where the network or the server failed. What it answers in the end is the caller's. */
export async function getPatiently(ask: () => Promise<Response>): Promise<Response> {
  for (let failures = 1; ; failures++) {
    let response: Response | undefined
    try {
      response = await ask()
      if (response.status !== 429 && response.status < 500) return response
      if (failures > MOST_FAILURES) return response
    } catch (error) {
      if (failures > MOST_FAILURES || !(error instanceof VarveError) || error.code !== 'E_CONNECT') throw error
    }
    await response?.body?.cancel()
    await delay(pause(failures, response))
  }
}

/**
 * `size` bytes from `ask`, which is given where to begin; asked again for the rest as often as each answer brought some.
 * Throws E_LOST.
 */
export async function* resumed(
  ask: (from: number) => Promise<Response>,
  { size, what }: { readonly size: number; readonly what: string },
): AsyncGenerator<Uint8Array> {
  let at = 0
  for (let failures = 1; ; failures++) {
    const response = await ask(at)
    let skip = begins(response, at, what)
    try {
      for await (const chunk of withinPatience(response)) {
        const rest = chunk.subarray(Math.min(skip, chunk.length))
        skip -= chunk.length - rest.length
        if (rest.length === 0) continue
        at += rest.length
        failures = 0
        yield rest
      }
      return
    } catch (cause) {
      if (at >= size) return
      if (failures > MOST_FAILURES)
        throw new VarveError(
          'E_LOST',
          `cannot read ${what}: the connection was lost ${failures} times at byte ${at}: ${escapeControls(messageOf(cause))}`,
          { hint: 'run the command again', cause },
        )
    }
    await delay(pause(failures, undefined))
  }
}

/** How much of the answer is known already: a server may begin anew. */
function begins(response: Response, at: number, what: string): number {
  if (response.status !== 206) return at
  const start = /^bytes ([0-9]+)-/.exec(response.headers.get('content-range') ?? '')?.[1]
  if (Number(start) === at) return 0
  throw new VarveError('E_REGISTRY', `cannot read ${what}: asked for bytes from ${at}, the server gave others`)
}

/** A body that says nothing for a minute is lost; how long the reader takes does not count. */
async function* withinPatience(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  try {
    for (let lost = false; ;) {
      const timer = setTimeout(() => {
        lost = true
        void reader.cancel().catch(() => {})
      }, PATIENCE_MS)
      const next = await reader.read().finally(() => clearTimeout(timer))
      if (lost) throw new Error('nothing came any more')
      if (next.done) return
      yield next.value
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

function pause(failures: number, response: Response | undefined): number {
  const asked = Number(response?.headers.get('retry-after') ?? 0) * 1000
  const own = FIRST_DELAY_MS * 2 ** (failures - 1) * (0.75 + Math.random() / 2)
  return Math.min(Math.max(own, Number.isFinite(asked) ? asked : 0), LONGEST_DELAY_MS)
}

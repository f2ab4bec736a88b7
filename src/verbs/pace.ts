// How fast a delta must be made: what the link to a host is known to take, or what it is seen to take on the way.
import { availableParallelism } from 'node:os'
import { speedOf, steady, toolFor, type Pace, type Tool } from '../delta/effort.ts'
import { hostText } from '../model/names.ts'
import type { Upload } from '../store/uploads.ts'
import type { Asked } from './prepare.ts'

/** How many jobs run at once. */
export function coresHere(): number {
  return Math.max(1, Math.min(8, availableParallelism()))
}

/** Bytes a second of a link that nothing is known of: what many small hosts have. */
const USUAL = 1.25e6
/** Where links are faster, all that is won is fractions of a second: 100 Mbit/s. */
const GOOD = 12.5e6
/** For --effort fast: every link is a very good one. */
const FAST = 100e6
/** For --effort max: 64 kbit/s. */
const SLOW = 8e3

/** The pace as it is known before anything is sent. */
export function paceFor(at: Asked): Pace {
  return steady(knownRate(at) ?? USUAL, at.pool.cores, thriftOf(at))
}

/** What is compressed thriftily is so as for a link of 5 Mbit/s, where the link is faster. */
export function thriftOf({ context }: Asked): number {
  return context.effort === 'fast' ? Infinity : 600e3
}

function knownRate({ context, connected, manifest }: Asked): number | undefined {
  const { effort = 'auto', bytesPerSecond = Infinity } = context
  const seen = manifest.uploads.rate(hostText(connected.host))
  const known = { fast: FAST, auto: seen && Math.min(seen, GOOD), max: SLOW }[effort]
  const most = Math.min(known ?? Infinity, bytesPerSecond)
  return most === Infinity ? undefined : most
}

/** `follows` is where nothing was known of the link. */
type MadeWith = { readonly rate: number; readonly follows: boolean; readonly tools: readonly Tool[] }

/**
 * The pace of a delta that is being sent: the same as before where some of it is on the host already, since it must be the
 * same bytes. It gives way where this machine is slower than thought, and on a link that nothing is known of what that link takes.
 */
export function paceOf(upload: Upload, at: Asked, note: (madeWith: string) => void): Pace {
  const { cores } = at.pool
  const before = upload.madeWith === '' ? undefined : (JSON.parse(upload.madeWith) as MadeWith)
  const known = before?.rate ?? knownRate(at)
  const rate = known ?? USUAL
  const tools: Tool[] = []
  let waited = 0
  const from = at.connected.traffic().sent
  const follows = before?.follows ?? known === undefined
  let speed = 1
  note(JSON.stringify({ rate, follows, tools: before?.tools ?? [] } satisfies MadeWith))
  return {
    bytesPerSecond: rate,
    cores,
    tool(bytes, codecs, thrifty) {
      const sent = at.connected.traffic().sent - from
      const unseen = bytes > LONG ? Math.max(rate, QUICK) : rate
      const seen = sent > BUFFERED ? (sent / Math.max(1, waited)) * 1000 : unseen
      const recorded = before?.tools[tools.length]
      const takes = Math.min(follows ? seen : rate, thrifty ? thriftOf(at) : Infinity)
      const tool = recorded ?? toolFor(bytes, { bytesPerSecond: takes, cores: cores * speed }, codecs)
      tools.push(tool)
      if (recorded === undefined) note(JSON.stringify({ rate, follows, tools } satisfies MadeWith))
      return tool
    },
    taken: (milliseconds) => void (waited += milliseconds),
    // the slowest: other contents than the table's may be as fast by chance, but what is behind them is not
    made: (tool, bytesPerSecond) => void (speed = Math.min(speed, speedOf(tool, bytesPerSecond) ?? speed)),
  }
}

/** Several pieces of what is so long are made before a link shows how fast it is: quickly, lest a fast one waits for them. */
const LONG = 16 << 20
const QUICK = 5e6

/** So much vanishes into buffers on the way before a link tells how fast it is. */
const BUFFERED = 3 << 20

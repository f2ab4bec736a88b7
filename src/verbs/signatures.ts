// Asks the host for signatures of old files whose bytes are not here, so that what is new is made against them all the same.
import { gzipSync } from 'node:zlib'
import { blocksFor, signedSize, type Blocks, type Signed } from '../delta/blocks.ts'
import { hasCode } from '../errors.ts'
import type { Survey } from '../host/survey.ts'
import type { Plan, Reference } from '../model/plan.ts'
import { paceFor } from './pace.ts'
import type { Asked } from './prepare.ts'
import type { Olds } from './read-source.ts'

/** Below this a file costs hardly more than the words about another; all together must be worth a round trip. */
const LEAST_SIZE = 1024
const LEAST_SUM = 8192
/** What is larger is sent whole: see delta/ways.ts. */
const LARGEST = 256 << 20
/** On links that take more bytes a second a file has arrived before the host has read its old one. */
const FAST = 20e6

/** Old contents that are at hand beside the cache. */
export function oldsOf(sha256: string, { olds, source }: Pick<Asked, 'olds' | 'source'>): ReturnType<Olds> {
  return olds?.(sha256) ?? source.below?.(sha256)
}

/** Trees that the host gets by this very push cannot be asked about. */
export function isSignable({ tree, size }: Reference, { tools, trees }: Survey): boolean {
  return tools.has('signatures') && tools.has('dd') && size >= LEAST_SIZE && size <= LARGEST && trees.includes(tree)
}

/** Those of all files that plans refer to and that are not at hand, by SHA-256: in one round trip, or in none. */
export async function askSignatures(plans: readonly Plan[], at: Asked): Promise<ReadonlyMap<string, Signed>> {
  const places = new Map<string, { readonly reference: Reference; places: number }>()
  for (const { steps } of plans)
    for (const step of steps) {
      if (step.kind !== 'send' || step.reference === undefined) continue
      const { reference, entry } = step
      if (at.manifest.contents.has(reference.sha256) || oldsOf(reference.sha256, at) !== undefined) continue
      const most = Math.max(entry.size, places.get(reference.sha256)?.places ?? 0)
      places.set(reference.sha256, { reference, places: most })
    }
  const files = [...places.values()]
  const sum = files.reduce((bytes, { reference }) => bytes + reference.size, 0)
  if (sum < LEAST_SUM || paceFor(at).bytesPerSecond > FAST) return new Map()
  const asked = files.map(({ reference, places: of }) => ({
    reference,
    blocks: blocksFor(reference.size, { places: of, files: files.length }),
  }))
  const list = gzipSync(Buffer.from(asked.map(({ reference, blocks }) => wordOf(reference, blocks)).join(''), 'latin1'))
  const payload = await answerTo(list, at)
  // all or nothing: no file of another size than was told can shift those behind it
  const told = asked.reduce((bytes, { reference, blocks }) => bytes + signedSize(reference.size, blocks), 0)
  if (payload?.length !== told) return new Map()
  const signed = new Map<string, Signed>()
  let end = 0
  for (const { reference, blocks } of asked) {
    const signatures = new Uint8Array(payload.subarray(end, (end += signedSize(reference.size, blocks))))
    signed.set(reference.sha256, { ...blocks, size: reference.size, signatures })
  }
  return signed
}

function wordOf({ tree, path }: Reference, { block, width }: Blocks): string {
  return `${block} ${width} tree/${tree}/root/${path}\0`
}

/** What the host cannot say costs bytes only. */
async function answerTo(list: Uint8Array, { connected, context }: Asked): Promise<Uint8Array | undefined> {
  try {
    return (await connected.session.ask(['signatures', String(list.length)], list)).payload
  } catch (error) {
    if (!hasCode(error, 'E_IO')) throw error
    context.onEvent({ kind: 'warning', code: 'W_SIGNATURES', message: `${error.message}: sending whole files` })
    return undefined
  }
}

// Reads a tar as a stream of members, strictly: what two readers would take for two things is refused by name.
import { VarveError } from '../errors.ts'
import { byteString, type ByteString } from '../model/bytes.ts'
import { Cursor, isZero, tarError, type Jumping, type Place } from './cursor.ts'
import { BLOCK, checksumHolds, decodeHeader, looksLikeHeader, type Header } from './header.ts'
import { decodePax, globalFields, paxFields, type PaxRecord } from './pax.ts'
import { expandSparse } from './sparse.ts'
import { makeMember, type TarHead, type TarMember } from './read-member.ts'

export type { TarMember }

export type TarWarning = { readonly code: string; readonly message: string }

export type ReadTarOptions = {
  readonly limits: { readonly entries: number; readonly bytes: number }
  readonly onWarning: (warning: TarWarning) => void
  /** The archive may end with the last byte of contents, as layers by umoci do, and not with the block that it is in. */
  readonly mayEndUnpadded?: boolean
  /** For messages: `"x.tar"`, by default "the archive". */
  readonly archive?: string
}

const LARGEST_EXTENSION = 1024 * 1024

/** Contents are to be read before the next member is asked for; what is left of them is skipped. */
export async function* readTar(
  chunks: AsyncIterable<Uint8Array> | Jumping,
  options: ReadTarOptions,
): AsyncGenerator<{ readonly member: TarMember; readonly contents: AsyncIterable<Uint8Array> }> {
  const cursor = new Cursor(chunks, options.archive ?? 'the archive')
  try {
    let globals: readonly PaxRecord[] = []
    const totals = { entries: 0, bytes: 0 }
    for (;;) {
      const next = await readHead(cursor, globals, options)
      if (next === undefined) return
      globals = next.globals
      const { member, stored } = await makeMember(cursor, next.head)
      totals.entries++
      totals.bytes += member.size
      checkTotals(totals, options.limits, next.head.place)
      const body = { offset: 0, stored, closed: false }
      yield { member, contents: contentsOf(cursor, member, body) }
      body.closed = true
      const padding = (BLOCK - (stored % BLOCK)) % BLOCK
      const ends = options.mayEndUnpadded === true && padding > 0
      await cursor.skip(stored - body.offset + (ends ? 0 : padding))
      if (ends) await skipPadding(cursor, padding)
    }
  } finally {
    await cursor.close()
  }
}

/** The header of the next member with all that stands before it and belongs to it; undefined at the end. */
async function readHead(
  cursor: Cursor,
  known: readonly PaxRecord[],
  options: ReadTarOptions,
): Promise<{ head: TarHead; globals: readonly PaxRecord[] } | undefined> {
  let globals = known
  let local: readonly PaxRecord[] | undefined
  const long: { L?: ByteString; K?: ByteString } = {}
  for (;;) {
    const { place } = cursor
    const extended = local !== undefined || long.L !== undefined || long.K !== undefined
    const block = await nextHeader(cursor, extended, options)
    if (block === undefined) {
      if (!extended) return undefined
      if (local === undefined) throw longLink(place, 'no member follows the long name')
      throw tarError('E_TAR_PAX', place, 'no member follows the extended header')
    }
    const header = decodeHeader(block, place)
    const { type } = header
    if (type === 'x' || type === 'g') {
      if (local !== undefined || (type === 'g' && extended))
        throw tarError('E_TAR_PAX', place, 'an extended header follows another')
      const records = decodePax(await readExtension(cursor, header, place), place)
      if (type === 'x') local = records
      else globals = [...new Map([...globals, ...globalFields(records, place)])]
    } else if (type === 'L' || type === 'K') {
      if (local !== undefined) throw tarError('E_TAR_PAX', place, 'an extended header stands before a long name')
      if (long[type] !== undefined) throw longLink(place, 'a long name follows another')
      long[type] = longText(await readExtension(cursor, header, place), place)
    } else {
      const pax = paxFields([...globals, ...(local ?? [])], place)
      return { globals, head: { header, block, place, pax, longName: long.L, longLink: long.K } }
    }
  }
}

/** None of it, or all. */
async function skipPadding(cursor: Cursor, padding: number): Promise<void> {
  const { length } = await cursor.take(padding)
  if (length > 0) await cursor.skip(padding - length)
}

/** A block that is no end of the archive. Throws E_TAR_EMPTY, E_TAR_FORMAT, E_TAR_TRUNC, E_TAR_TRAILING. */
async function nextHeader(cursor: Cursor, extended: boolean, options: ReadTarOptions): Promise<Buffer | undefined> {
  const { place } = cursor
  const block = asBuffer(await cursor.take(BLOCK))
  if (block.length === 0) {
    if (place.at === 0) throw new VarveError('E_TAR_EMPTY', `cannot read ${place.archive}: it is empty`)
    if (!extended)
      options.onWarning({ code: 'W_TAR_EOF', message: `${place.archive} has no end marker: it may have been cut off` })
    return undefined
  }
  if (block.length < BLOCK) {
    if (place.at === 0 && !looksLikeHeader(block))
      throw tarError('E_TAR_FORMAT', place, 'there is no tar header', 'name a tar archive')
    throw tarError('E_TAR_TRUNC', place, 'the archive ends in the middle of a header', 'make the archive again')
  }
  if (!isZero(block)) return Buffer.from(block)
  if (!extended) await readEnd(cursor, options)
  return undefined
}

/** Behind the first block of zeros: another, and then nothing that some reader would take for a member. */
async function readEnd(cursor: Cursor, options: ReadTarOptions): Promise<void> {
  let zeros = 1
  let junk: number | undefined
  for (;;) {
    const { place } = cursor
    const block = asBuffer(await cursor.take(BLOCK))
    if (block.length === 0) break
    if (isZero(block)) {
      if (junk === undefined) zeros++
    } else if (block.length === BLOCK && checksumHolds(block))
      throw tarError('E_TAR_TRAILING', place, 'another member follows the end marker', 'make one archive of it')
    else junk ??= place.at
  }
  const { archive } = cursor.place
  if (zeros < 2) options.onWarning({ code: 'W_TAR_EOF', message: `${archive} has only half of its end marker` })
  if (junk !== undefined)
    options.onWarning({
      code: 'W_TRAILING',
      message: `${archive} has bytes behind its end, from byte ${junk}: ignored`,
    })
}

async function readExtension(cursor: Cursor, header: Header, place: Place): Promise<Buffer> {
  const { size } = header
  if (!(size > 0 && size <= LARGEST_EXTENSION)) {
    const why = `the extended header is ${size} bytes, and varve reads 1 to ${LARGEST_EXTENSION}`
    throw tarError(header.type === 'x' || header.type === 'g' ? 'E_TAR_PAX' : 'E_TAR_LONGLINK', place, why)
  }
  const padded = await cursor.need(Math.ceil(size / BLOCK) * BLOCK)
  return asBuffer(padded.subarray(0, size))
}

function longText(body: Buffer, place: Place): ByteString {
  const text = body.toString('latin1').replace(/\0+$/, '')
  if (text === '' || text.includes('\0')) throw longLink(place, 'the long name is empty or contains a NUL byte')
  return byteString(text)
}

function checkTotals(totals: { entries: number; bytes: number }, limits: ReadTarOptions['limits'], place: Place): void {
  if (totals.entries > limits.entries)
    throw tarError('E_LIMIT_ENTRIES', place, `it has more than ${limits.entries} entries`)
  if (totals.bytes > limits.bytes)
    throw tarError('E_LIMIT_BYTES', place, `its contents are more than ${limits.bytes} bytes`)
}

type Body = { offset: number; readonly stored: number; closed: boolean }

function contentsOf(cursor: Cursor, member: TarMember, body: Body): AsyncIterable<Uint8Array> {
  if (member.sparse === undefined) return storedBytes(cursor, body, body.stored)
  return expandSparse(member.sparse, (_, length) => storedBytes(cursor, body, length))
}

async function* storedBytes(cursor: Cursor, body: Body, length: number): AsyncGenerator<Uint8Array> {
  const end = body.offset + length
  while (body.offset < end) {
    if (body.closed) throw new VarveError('E_BUG', 'cannot read contents: the next member has been asked for')
    const bytes = await cursor.some(end - body.offset)
    body.offset += bytes.length
    yield bytes
  }
}

function longLink(place: Place, why: string): VarveError {
  return tarError('E_TAR_LONGLINK', place, why)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

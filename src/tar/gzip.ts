// Unpacks gzip member by member, so that what stands behind the last one can be told from a damaged one.
import { crc32, createInflateRaw } from 'node:zlib'
import { VarveError, messageOf } from '../errors.ts'
import type { TarWarning } from './read.ts'

type Chunks = AsyncIterable<Uint8Array>

const HEADER = 10
const TRAILER = 8
/** Flags: https://datatracker.ietf.org/doc/html/rfc1952#section-2.3.1 */
const HEADER_CRC = 0x02
const EXTRA = 0x04
const NAME = 0x08
const COMMENT = 0x10

/** Throws E_COMPRESSION. Bytes behind the last member that are not zero give the warning W_TRAILING. */
export async function* gunzip(
  input: Chunks,
  unpacking: { readonly archive: string; readonly onWarning: (warning: TarWarning) => void },
): AsyncGenerator<Uint8Array> {
  const { archive, onWarning } = unpacking
  const source = new Source(input, archive)
  try {
    do {
      await skipHeader(source)
      yield* inflate(source)
    } while (await beginsMember(source))
    if (await source.hasMore())
      onWarning({ code: 'W_TRAILING', message: `${archive} has bytes behind its gzip data: ignored` })
  } finally {
    await source.close()
  }
}

async function skipHeader(source: Source): Promise<void> {
  const header = await source.take(HEADER)
  const flags = header[3] ?? 0
  if (header[2] !== 8 || flags > 0x1f) throw source.damaged('it has a header of an unknown kind')
  if (flags & EXTRA) await source.take(Buffer.from(await source.take(2)).readUInt16LE())
  if (flags & NAME) await skipText(source)
  if (flags & COMMENT) await skipText(source)
  if (flags & HEADER_CRC) await source.take(2)
}

async function skipText(source: Source): Promise<void> {
  while ((await source.take(1))[0] !== 0);
}

/** The zeros that fill up a tape are no further member, and worth no word. */
async function beginsMember(source: Source): Promise<boolean> {
  const start = await source.peek(2)
  if (start[0] === 0x1f && start[1] === 0x8b) return true
  await source.skipZeros()
  return false
}

async function* inflate(source: Source): AsyncGenerator<Uint8Array> {
  const inflater = createInflateRaw({ chunkSize: 128 * 1024 })
  const feeding = source.feed(inflater)
  feeding.catch((error: unknown) => inflater.destroy(error as Error))
  let checksum = 0
  let size = 0
  try {
    for await (const chunk of inflater as AsyncIterable<Buffer>) {
      checksum = crc32(chunk, checksum)
      size += chunk.length
      yield chunk
    }
    await feeding
  } catch (cause) {
    throw cause instanceof VarveError ? cause : source.damaged(messageOf(cause), cause)
  } finally {
    inflater.destroy()
  }
  const trailer = Buffer.from(await source.take(TRAILER))
  if (trailer.readUInt32LE(0) !== checksum || trailer.readUInt32LE(4) !== size % 2 ** 32)
    throw source.damaged('the checksum is wrong')
}

/** Bytes that can be put back. */
class Source {
  private readonly iterator: AsyncIterator<Uint8Array>
  private readonly archive: string
  private rest: Uint8Array = new Uint8Array(0)

  constructor(input: Chunks, archive: string) {
    this.iterator = input[Symbol.asyncIterator]()
    this.archive = archive
  }

  damaged(why: string, cause?: unknown): VarveError {
    return new VarveError('E_COMPRESSION', `cannot read ${this.archive}: its gzip data is damaged: ${why}`, { cause })
  }

  async hasMore(): Promise<boolean> {
    while (this.rest.length === 0) {
      const next = await this.iterator.next()
      if (next.done === true) return false
      this.rest = next.value
    }
    return true
  }

  async peek(length: number): Promise<Uint8Array> {
    while (this.rest.length < length) {
      const next = await this.iterator.next()
      if (next.done === true) break
      this.rest = Buffer.concat([this.rest, next.value])
    }
    return this.rest.subarray(0, length)
  }

  async take(length: number): Promise<Uint8Array> {
    const bytes = await this.peek(length)
    if (bytes.length < length) throw this.damaged('it ends too early')
    this.rest = this.rest.subarray(length)
    return bytes
  }

  async skipZeros(): Promise<void> {
    while (await this.hasMore()) {
      const first = this.rest.findIndex((byte) => byte !== 0)
      this.rest = first === -1 ? new Uint8Array(0) : this.rest.subarray(first)
      if (first !== -1) return
    }
  }

  /** Gives chunks until the inflater has found its end; what it did not want comes back. */
  async feed(inflater: ReturnType<typeof createInflateRaw>): Promise<void> {
    let given = 0
    while (await this.hasMore()) {
      const chunk = this.rest
      this.rest = new Uint8Array(0)
      given += chunk.length
      await new Promise<void>((resolve, reject) => {
        inflater.write(chunk, (error) => {
          if (error) reject(error)
          else resolve()
        })
      })
      const unused = given - inflater.bytesWritten
      if (unused > 0) {
        this.rest = chunk.subarray(chunk.length - unused)
        break
      }
    }
    inflater.end()
  }

  async close(): Promise<void> {
    await this.iterator.return?.()
  }
}

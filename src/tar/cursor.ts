// Walks once over the bytes of an archive, and knows where it stands.
import { VarveError, type ErrorCode } from '../errors.ts'

/** Where in which archive something is, for messages. */
export type Place = { readonly archive: string; readonly at: number }

export function tarError(code: ErrorCode, place: Place, why: string, hint?: string): VarveError {
  const message = `cannot read ${place.archive} at byte ${place.at}: ${why}`
  return new VarveError(code, message, hint === undefined ? {} : { hint })
}

export function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}

/** Bytes of which some need not be read: `jump` leaves out the next `length`, or says that there are not so many. */
export type Jumping = AsyncIterable<Uint8Array> & { readonly jump: (length: number) => boolean }

/** Its lifetime is that of the iterator below it: `close` ends it early. */
export class Cursor {
  /** Bytes that have been taken so far. */
  position = 0
  private readonly archive: string
  private readonly iterator: AsyncIterator<Uint8Array>
  private readonly jump: Jumping['jump'] | undefined
  private chunk: Uint8Array = new Uint8Array(0)

  constructor(chunks: AsyncIterable<Uint8Array> | Jumping, archive: string) {
    this.archive = archive
    this.jump = 'jump' in chunks ? chunks.jump : undefined
    this.iterator = chunks[Symbol.asyncIterator]()
  }

  get place(): Place {
    return { archive: this.archive, at: this.position }
  }

  /** The next `length` bytes, fewer only at the end of the archive. Valid until the next call that the cursor gets. */
  async take(length: number): Promise<Uint8Array> {
    if (this.chunk.length >= length) return this.cut(length)
    const pieces: Uint8Array[] = []
    let missing = length
    do {
      const piece = this.cut(Math.min(missing, this.chunk.length))
      pieces.push(piece)
      missing -= piece.length
    } while (missing > 0 && (await this.more()))
    return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces)
  }

  /** The next `length` bytes. Throws E_TAR_TRUNC where the archive ends before. */
  async need(length: number): Promise<Uint8Array> {
    const bytes = await this.take(length)
    if (bytes.length < length) throw this.truncated()
    return bytes
  }

  /** At most `length` bytes, at least one, as they lie in memory. Throws E_TAR_TRUNC at the end of the archive. */
  async some(length: number): Promise<Uint8Array> {
    if (this.chunk.length === 0 && !(await this.more())) throw this.truncated()
    return this.cut(Math.min(length, this.chunk.length))
  }

  async skip(length: number): Promise<void> {
    const missing = length - this.cut(Math.min(length, this.chunk.length)).length
    if (this.jump === undefined) for (let left = missing; left > 0;) left -= (await this.some(left)).length
    else if (missing > 0) {
      if (!this.jump(missing)) throw this.truncated()
      this.position += missing
    }
  }

  async close(): Promise<void> {
    await this.iterator.return?.()
  }

  private cut(length: number): Uint8Array {
    const bytes = this.chunk.subarray(0, length)
    this.chunk = this.chunk.subarray(length)
    this.position += length
    return bytes
  }

  private async more(): Promise<boolean> {
    for (;;) {
      const next = await this.iterator.next()
      if (next.done === true) return false
      this.chunk = next.value
      if (this.chunk.length > 0) return true
    }
  }

  private truncated(): VarveError {
    return tarError('E_TAR_TRUNC', this.place, 'the archive ends in the middle of a member', 'make the archive again')
  }
}

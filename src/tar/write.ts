// Encodes members as a canonical tar: the same members always give the same bytes, and nothing of them is lost.
import { once } from 'node:events'
import { pack as tarPack, type Pack } from 'tar-stream'
import { VarveError } from '../errors.ts'
import { printable } from '../model/bytes.ts'
import { encodeHeader, type Dialect, type Member } from './write-member.ts'

export { paxTime } from './write-member.ts'
export type { Dialect, Member }

type HeaderArgument = Parameters<Pack['entry']>[0]
type FileMember = Extract<Member, { kind: 'file' }>

const BATCH = 256 * 1024

/** Yields the archive in pieces of about 256 KiB, without its two last blocks where `end` is false. Throws E_LOSS, E_DEVICE, or E_SOURCE_CHANGED for contents of another size. */
export async function* writeTar(
  members: AsyncIterable<Member> | Iterable<Member>,
  dialect: Dialect,
  { end } = { end: true },
): AsyncGenerator<Uint8Array> {
  const pack = tarPack({ highWaterMark: Number.MAX_SAFE_INTEGER })
  const batch = new Batch(pack)
  pack.on('error', () => {}) // the callback of the entry at fault tells it
  try {
    for await (const member of members) {
      const { extensions, header, block } = encodeHeader(member, dialect)
      for (const extension of extensions) pack.push(extension)
      if (block !== undefined) pack.push(block)
      else if (member.kind !== 'file') await entry(pack, header)
      else {
        const contents = member.contents()
        if (contents instanceof Uint8Array) await entry(pack, header, whole(member, contents))
        else if (member.size > BATCH) yield* streamed({ pack, batch, header, member }, contents)
        else await entry(pack, header, whole(member, await gather(member, contents)))
      }
      if (batch.fill() >= BATCH) yield batch.take()
    }
    if (end) pack.finalize()
    batch.fill()
    yield batch.take()
  } finally {
    pack.destroy()
  }
}

/** Gathers the many small pieces that tar-stream makes. */
class Batch {
  private readonly pack: Pack
  private pieces: Uint8Array[] = []
  private bytes = 0

  constructor(pack: Pack) {
    this.pack = pack
  }

  fill(): number {
    for (;;) {
      const piece = this.pack.read() as Uint8Array | null
      if (piece === null) return this.bytes
      this.pieces.push(piece)
      this.bytes += piece.length
    }
  }

  take(): Uint8Array {
    const joined = this.pieces.length === 1 && this.pieces[0] ? this.pieces[0] : Buffer.concat(this.pieces, this.bytes)
    this.pieces = []
    this.bytes = 0
    return joined
  }
}

function entry(pack: Pack, header: HeaderArgument, body?: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => {
      if (error) reject(error)
      else resolve()
    }
    if (body === undefined) pack.entry(header, done)
    else pack.entry(header, body, done)
  })
}

async function* streamed(
  into: { readonly pack: Pack; readonly batch: Batch; readonly header: HeaderArgument; readonly member: FileMember },
  contents: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { pack, batch, header, member } = into
  let sink: ReturnType<Pack['entry']> | undefined
  const finished = new Promise<void>((resolve, reject) => {
    sink = pack.entry(header, (error) => {
      if (error) reject(error)
      else resolve()
    })
  })
  finished.catch(() => {}) // when the contents fail first, that is what is told
  let written = 0
  for await (const chunk of contents) {
    written += chunk.length
    if (written > member.size) throw wrongSize(member, written)
    if (sink?.write(chunk) === false) await Promise.race([once(sink, 'drain'), finished])
    if (batch.fill() >= BATCH) yield batch.take()
  }
  if (written !== member.size) throw wrongSize(member, written)
  sink?.end(undefined)
  await finished
}

async function gather(member: FileMember, contents: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of contents) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > member.size) throw wrongSize(member, bytes)
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes)
}

function whole(member: FileMember, contents: Uint8Array): Buffer {
  if (contents.length !== member.size) throw wrongSize(member, contents.length)
  return Buffer.from(contents.buffer, contents.byteOffset, contents.byteLength)
}

function wrongSize(member: FileMember, bytes: number): VarveError {
  return new VarveError(
    'E_SOURCE_CHANGED',
    `cannot write "${printable(member.name)}": its contents are ${bytes > member.size ? 'more' : bytes} bytes, and ${member.size} were announced`,
  )
}

// Makes the frames of a delta: files that changed, compressed after their old contents, some files a frame.
import { Readable } from 'node:stream'
import { VarveError } from '../errors.ts'
import { byteString } from '../model/bytes.ts'
import type { Reference } from '../model/plan.ts'
import { writeTar, type Dialect, type Member } from '../tar/write.ts'
import type { Packing } from './codec.ts'
import { levelAfter } from './effort.ts'
import { whole, type Contents, type Segment, type Ways } from './ways.ts'
import type { FrameTool } from './work.ts'

export type FrameOptions = {
  readonly packing: Packing
  readonly dialect: Dialect
  readonly contents: Contents
  readonly old: (sha256: string) => Uint8Array | undefined
  readonly tool: FrameTool
}

export type Frame = {
  readonly segment: Segment
  /** As they are made. */
  readonly parts: AsyncIterable<Uint8Array>
  /** Bytes of its tar. */
  readonly raw: number
}

/** In order; while one is sent the next are made. */
export function framesOf({ segments }: Pick<Ways, 'segments'>, options: FrameOptions): AsyncIterable<Frame> {
  return Readable.from(begin(segments, options), { highWaterMark: options.packing.pool.cores })
}

async function* begin(segments: Ways['segments'], options: FrameOptions): AsyncGenerator<Frame> {
  const { dialect, tool } = options
  const { pool, pace } = options.packing
  let first = true
  for await (const segment of segments) {
    const size = segment.files.reduce((sum, file) => sum + file.size, 0)
    const link = { bytesPerSecond: pace.bytesPerSecond, cores: first && segment.last ? 1 : pace.cores }
    const level = levelAfter({ ...segment.all, first: first ? size : 0 }, link)
    first = false
    const bytes = await whole(writeTar(members(segment, options), dialect))
    const before = Buffer.concat(segment.references.map((reference) => oldOf(reference, options)))
    const raw = bytes.length
    let wanted = true
    const parts = new ReadableStream<Uint8Array>({
      start: (out) =>
        void pool
          .run({ kind: 'after', before, bytes, level, tool }, (part) => wanted && out.enqueue(part))
          .then(
            () => wanted && out.close(),
            (error: unknown) => out.error(error),
          ),
      cancel: () => void (wanted = false),
    })
    yield { segment, parts, raw }
  }
}

function oldOf({ sha256 }: Reference, { old }: FrameOptions): Uint8Array {
  const bytes = old(sha256)
  if (bytes === undefined) throw new VarveError('E_IO', 'cannot read old contents from the cache any more', { hint: 'run the command again' }) // prettier-ignore
  return bytes
}

function* members({ files }: Segment, { contents }: FrameOptions): Generator<Member> {
  for (const file of files) yield { ...file, name: byteString(`stage/c/${file.path}`), contents: () => contents(file) }
}

// Weighs processor time against bytes on a link: which tool makes a delta arrive soonest. Pure.
export type Codec = 'zstd' | 'xz' | 'gzip' | 'none'

export type Tool = { readonly codec: Codec; readonly level: number }

/** What a delta is made for. */
export type Pace = {
  /** Of the link, as far as it is known. */
  readonly bytesPerSecond: number
  /** How many jobs run at once here. */
  readonly cores: number
  /** The tool for the next piece of a stream of about so many bytes, with what the host can undo. */
  readonly tool: (bytes: number, codecs: readonly Codec[]) => Tool
}

/** The same answer for every piece. */
export function steady(bytesPerSecond: number, cores: number): Pace {
  return {
    bytesPerSecond,
    cores,
    tool: (bytes, codecs) => toolFor(bytes, { bytesPerSecond, cores }, codecs),
  }
}

type Measured = Tool & { readonly speed: number; readonly ratio: number }

/** Bytes a second of one core, and what is left of them: 60 MB of a Debian tree's tar; gzip's are estimates. */
const STREAMS: readonly Measured[] = [
  { codec: 'zstd', level: 1, speed: 190e6, ratio: 0.3 },
  { codec: 'zstd', level: 3, speed: 170e6, ratio: 0.265 },
  { codec: 'zstd', level: 9, speed: 43e6, ratio: 0.236 },
  { codec: 'zstd', level: 19, speed: 1.9e6, ratio: 0.208 },
  { codec: 'xz', level: 6, speed: 1.8e6, ratio: 0.187 },
  { codec: 'xz', level: 9, speed: 1.3e6, ratio: 0.184 },
  { codec: 'gzip', level: 6, speed: 35e6, ratio: 0.3 },
  { codec: 'gzip', level: 9, speed: 15e6, ratio: 0.298 },
]

/** Estimates of the same, for files with their older version as the dictionary. */
const AFTER: readonly { readonly level: number; readonly speed: number; readonly ratio: number }[] = [
  { level: 6, speed: 45e6, ratio: 0.06 },
  { level: 9, speed: 30e6, ratio: 0.053 },
  { level: 19, speed: 1.5e6, ratio: 0.04 },
]

/** So few bytes are worth all effort on any link. */
const FEW = 128 << 10

export function toolFor(
  bytes: number,
  link: { readonly bytesPerSecond: number; readonly cores: number },
  codecs: readonly Codec[],
): Tool {
  const able = STREAMS.filter(({ codec }) => codecs.includes(codec))
  const best = bytes <= FEW ? able.findLast(({ codec }) => codec === able[0]?.codec) : soonest(able, bytes, link)
  return best === undefined ? { codec: 'none', level: 0 } : { codec: best.codec, level: best.level }
}

export function levelAfter(bytes: number, link: { readonly bytesPerSecond: number; readonly cores: number }): number {
  return bytes <= FEW ? 19 : (soonest(AFTER, bytes, link)?.level ?? 9)
}

/**
 * Bytes of a stream that are compressed at once, of the piece behind so many others: a link has nothing to do until the first
 * is made, and tools find more in larger ones. xz finds the most; its memory, here and there, is some times its dictionary.
 */
export function pieceOf(codec: Codec, before: number): number {
  return Math.min(codec === 'xz' ? 48 << 20 : 16 << 20, FIRST * 4 ** before)
}

const FIRST = 4 << 20

/** What is sent while the rest is still compressed costs no time of its own; only the first piece is waited for. */
function soonest<Way extends { readonly speed: number; readonly ratio: number }>(
  ways: readonly Way[],
  bytes: number,
  { bytesPerSecond, cores }: { readonly bytesPerSecond: number; readonly cores: number },
): Way | undefined {
  const seconds = ({ speed, ratio }: Way): number => {
    const first = Math.min(bytes, FIRST) / speed
    const making = (bytes - Math.min(bytes, FIRST)) / speed / cores
    return first + Math.max(making, (bytes * ratio) / bytesPerSecond)
  }
  return ways.toSorted((a, b) => seconds(a) - seconds(b))[0]
}

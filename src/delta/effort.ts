// Weighs processor time against bytes on a link: which tool makes a delta arrive soonest. Pure.
export type Codec = 'zstd' | 'xz' | 'gzip' | 'none'

export type Tool = { readonly codec: Codec; readonly level: number }

/** What a delta is made for. */
export type Pace = {
  /** Of the link, as far as it is known. */
  readonly bytesPerSecond: number
  /** How many jobs run at once here. */
  readonly cores: number
  /**
   * The tool for the next piece of a stream of about so many bytes, with what the host can undo. `thrifty` is where nothing
   * but effort saves bytes that other tools save.
   */
  readonly tool: (bytes: number, codecs: readonly Codec[], thrifty?: boolean) => Tool
  /** Is told how long whoever sends them had to take pieces: what of the time was the link's. */
  readonly taken?: (milliseconds: number) => void
  /** Is told how many bytes a second of one core a tool took of a large piece. */
  readonly made?: (tool: Tool, bytesPerSecond: number) => void
}

/** The same answer for every piece; a thrifty one is for a link of so many bytes a second at most. */
export function steady(bytesPerSecond: number, cores: number, thrift = Infinity): Pace {
  return {
    bytesPerSecond,
    cores,
    tool: (bytes, codecs, thrifty) =>
      toolFor(bytes, { bytesPerSecond: thrifty ? Math.min(bytesPerSecond, thrift) : bytesPerSecond, cores }, codecs),
  }
}

type Measured = Tool & { readonly speed: number; readonly ratio: number }

/**
 * Bytes a second of one core, and what is left of them: of 60 MB of a Debian tree's tar. The speeds are those of 24 MB for each of
 * two cores at the same time, on a machine with nothing else to do; gzip's are estimates.
 */
const STREAMS: readonly Measured[] = [
  { codec: 'zstd', level: 1, speed: 180e6, ratio: 0.296 },
  { codec: 'zstd', level: 3, speed: 140e6, ratio: 0.262 },
  { codec: 'zstd', level: 6, speed: 45e6, ratio: 0.242 },
  { codec: 'zstd', level: 9, speed: 29e6, ratio: 0.233 },
  { codec: 'zstd', level: 12, speed: 17e6, ratio: 0.231 },
  { codec: 'zstd', level: 16, speed: 3.9e6, ratio: 0.219 },
  { codec: 'zstd', level: 17, speed: 2.8e6, ratio: 0.213 },
  { codec: 'zstd', level: 18, speed: 2.4e6, ratio: 0.207 },
  { codec: 'zstd', level: 19, speed: 1.7e6, ratio: 0.206 },
  { codec: 'xz', level: 0, speed: 7.7e6, ratio: 0.222 },
  { codec: 'xz', level: 1, speed: 5.8e6, ratio: 0.21 },
  { codec: 'xz', level: 2, speed: 4e6, ratio: 0.206 },
  { codec: 'xz', level: 4, speed: 2.6e6, ratio: 0.192 },
  { codec: 'xz', level: 9, speed: 1.7e6, ratio: 0.182 },
  { codec: 'gzip', level: 6, speed: 35e6, ratio: 0.3 },
  { codec: 'gzip', level: 9, speed: 15e6, ratio: 0.298 },
]

/** Bytes a second that come out of them again: estimates for hosts somewhat slower than one that has 550, 140 and 58 MB/s. */
const UNDONE: Record<Codec, number> = { zstd: 400e6, gzip: 120e6, xz: 50e6, none: Infinity }

/**
 * The same for files with their older version as the dictionary, which is read first; ratios are to what level 6 makes. They
 * are about those of Fossil's next release, 18 MB of programs; speeds are estimates: on a loaded machine 9, 12, 6 and 0.55 MB/s.
 */
const AFTER: readonly Measured[] = [
  { codec: 'zstd', level: 6, speed: 20e6, ratio: 1 },
  { codec: 'zstd', level: 9, speed: 16e6, ratio: 0.97 },
  { codec: 'zstd', level: 12, speed: 9e6, ratio: 0.96 },
  { codec: 'zstd', level: 19, speed: 1e6, ratio: 0.85 },
]

/** So few bytes are worth all effort on any link. */
const FEW = 128 << 10

/** How much faster than the table's this machine is, by what a tool was seen to do. */
export function speedOf({ codec, level }: Tool, bytesPerSecond: number): number | undefined {
  const known = STREAMS.find((way) => way.codec === codec && way.level === level)
  return known && bytesPerSecond / known.speed
}

/** `cores` counts as many of the table's speed as there are. */
export function toolFor(
  bytes: number,
  link: { readonly bytesPerSecond: number; readonly cores: number },
  codecs: readonly Codec[],
): Tool {
  const able = STREAMS.filter(({ codec }) => codecs.includes(codec))
  const best = bytes <= FEW ? able.findLast(({ codec }) => codec === able[0]?.codec) : soonest(able, bytes, link)
  return best === undefined ? { codec: 'none', level: 0 } : { codec: best.codec, level: best.level }
}

/** For files of so many bytes, the first frame of which has `first`, and which level 6 makes `packed` bytes of. */
export function levelAfter(
  { bytes, first, packed }: { readonly bytes: number; readonly first: number; readonly packed: number },
  link: { readonly bytesPerSecond: number; readonly cores: number },
): number {
  if (bytes <= FEW) return 19
  const ways = AFTER.map((way) => ({ ...way, ratio: (way.ratio * packed) / bytes }))
  return soonest(ways, bytes, link, first)?.level ?? 9
}

/**
 * Bytes of a stream that are compressed at once, of the piece behind so many others: a link has nothing to do until the first
 * is made, nor where one takes longer than the link has to do with those before. xz finds more in larger ones (of 290 MB of
 * programs preset 2 leaves 41.0 MB in pieces of 48 MiB, 41.7 in those of 16): at its strongest, where the link is slow
 * enough, it gets them. Its memory, here and there, is some times its dictionary.
 */
export function pieceOf({ codec, level }: Tool, before: number): number {
  return Math.min(codec === 'xz' && level > 6 ? 48 << 20 : 16 << 20, FIRST * 2 ** before)
}

const FIRST = 4 << 20

/** Of ways that arrive about as soon, the smallest is taken: bytes are what is counted. */
const ABOUT = 1.1

/** What is sent while the rest is still compressed costs no time of its own; the first piece is waited for, and the undoing. */
function soonest(
  ways: readonly Measured[],
  bytes: number,
  { bytesPerSecond, cores }: { readonly bytesPerSecond: number; readonly cores: number },
  waited = Math.min(bytes, FIRST),
): Measured | undefined {
  const seconds = ({ codec, speed, ratio }: Measured): number => {
    const first = waited / speed
    const making = (bytes - waited) / speed / cores
    return first + Math.max(making, (bytes * ratio) / bytesPerSecond) + bytes / UNDONE[codec]
  }
  const least = Math.min(...ways.map(seconds))
  return ways.filter((way) => seconds(way) <= least * ABOUT).toSorted((a, b) => a.ratio - b.ratio)[0]
}

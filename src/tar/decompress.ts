// Finds out how an archive is compressed and yields what is in it, within bounds of size and ratio.
import { spawn } from 'node:child_process'
import type { Writable } from 'node:stream'
import zstd from 'zstd-napi/binding.js'
import { VarveError, hasCode, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import type { TarWarning } from './read.ts'
import { gunzip } from './gzip.ts'

/** Bounds against archives that are small on disk and huge when unpacked. */
export type Limits = {
  readonly entries: number
  /** Of the uncompressed archive, and of all contents together with their holes. */
  readonly bytes: number
  /** Uncompressed bytes for each compressed one, as soon as there are more than `ratioFloor` of them. */
  readonly ratio: number
  readonly ratioFloor: number
}

export const defaultLimits: Limits = {
  entries: 1_000_000,
  bytes: 64 * 1024 ** 3,
  ratio: 1000,
  ratioFloor: 64 * 1024 ** 2,
}

export type Compression = 'none' | 'gzip' | 'zstd' | 'xz'

export type DecompressOptions = {
  readonly onWarning: (warning: TarWarning) => void
  readonly limits?: Limits
  /** For messages: `"x.tar"`, by default "the archive". */
  readonly archive?: string
}

type Chunks = AsyncIterable<Uint8Array>
type Unpacking = { readonly archive: string; readonly onWarning: (warning: TarWarning) => void }

/** 128 MiB, as the zstd command has it: https://datatracker.ietf.org/doc/html/rfc8878#section-5 */
const LARGEST_WINDOW_LOG = 27
const XZ_MEMORY = '256MiB'
const OUTPUT = 256 * 1024
const UNPACK: Readonly<Record<Exclude<Compression, 'none'>, (input: Chunks, unpacking: Unpacking) => Chunks>> = {
  gzip: gunzip,
  zstd: unzstd,
  xz: unxz,
}

/** Looks at the first bytes and says what they are. The chunks throw E_COMPRESSION, E_ZSTD_WINDOW, E_LIMIT_RATIO, E_LIMIT_BYTES. */
export async function openDecompressed(
  stream: Chunks,
  options: DecompressOptions,
): Promise<{ readonly compression: Compression; readonly chunks: AsyncGenerator<Uint8Array> }> {
  const limits = options.limits ?? defaultLimits
  const archive = options.archive ?? 'the archive'
  const iterator = stream[Symbol.asyncIterator]()
  let head = new Uint8Array(0)
  while (head.length < 6) {
    const next = await iterator.next()
    if (next.done === true) break
    head = Buffer.concat([head, next.value])
  }
  const compression = sniff(head)
  const read = { bytes: 0 }
  const input = counted(head, iterator, read)
  const output = compression === 'none' ? input : UNPACK[compression](input, { archive, onWarning: options.onWarning })
  return { compression, chunks: bounded(output, { limits, archive, read }) }
}

function sniff(head: Uint8Array): Compression {
  const hex = Buffer.from(head.subarray(0, 6)).toString('hex')
  if (hex.startsWith('1f8b')) return 'gzip'
  if (hex.startsWith('28b52ffd') || /^5.2a4d18/.test(hex)) return 'zstd'
  return hex === 'fd377a585a00' ? 'xz' : 'none'
}

async function* counted(
  head: Uint8Array,
  iterator: AsyncIterator<Uint8Array>,
  read: { bytes: number },
): AsyncGenerator<Uint8Array> {
  try {
    read.bytes += head.length
    if (head.length > 0) yield head
    for (;;) {
      const next = await iterator.next()
      if (next.done === true) return
      read.bytes += next.value.length
      yield next.value
    }
  } finally {
    await iterator.return?.()
  }
}

async function* bounded(
  output: Chunks,
  bound: { readonly limits: Limits; readonly archive: string; readonly read: { readonly bytes: number } },
): AsyncGenerator<Uint8Array> {
  const { limits, archive, read } = bound
  let bytes = 0
  for await (const chunk of output) {
    bytes += chunk.length
    if (bytes > limits.bytes)
      throw new VarveError('E_LIMIT_BYTES', `cannot read ${archive}: it unpacks to more than ${limits.bytes} bytes`)
    if (bytes > limits.ratioFloor && bytes > limits.ratio * read.bytes)
      throw new VarveError(
        'E_LIMIT_RATIO',
        `cannot read ${archive}: ${read.bytes} bytes unpack to more than ${limits.ratio} times as many`,
        { hint: 'if you trust it, unpack it yourself and name the plain tar' },
      )
    yield chunk
  }
}

/** Frame after frame. The output is asked for piece by piece, so that a small input cannot fill the memory. */
async function* unzstd(input: Chunks, { archive }: Unpacking): AsyncGenerator<Uint8Array> {
  const context = new zstd.DCtx()
  context.setParameter(zstd.DParameter.windowLogMax, LARGEST_WINDOW_LOG)
  let within = false
  for await (const chunk of input) {
    let rest = chunk
    for (let full = false; rest.length > 0 || full;) {
      const buffer = Buffer.allocUnsafe(OUTPUT)
      const [hint, produced, consumed] = decompress(context, { buffer, rest, archive })
      within = hint !== 0
      full = within && produced === buffer.length
      rest = rest.subarray(consumed)
      if (produced > 0) yield buffer.subarray(0, produced)
    }
  }
  if (within) throw damaged(archive, 'zstd', 'it ends too early')
}

function decompress(
  context: InstanceType<typeof zstd.DCtx>,
  { buffer, rest, archive }: { buffer: Buffer; rest: Uint8Array; archive: string },
): readonly [number, number, number] {
  try {
    return context.decompressStream(buffer, rest)
  } catch (cause) {
    if (/too much memory/i.test(messageOf(cause)))
      throw new VarveError('E_ZSTD_WINDOW', `cannot read ${archive}: its zstd window is larger than 128 MiB`, {
        hint: 'compress it without --long, or with --long=27',
        cause,
      })
    throw damaged(archive, 'zstd', messageOf(cause), cause)
  }
}

/** Through the command: Node has no LZMA, and a rare format is worth no package. */
async function* unxz(input: Chunks, { archive }: Unpacking): AsyncGenerator<Uint8Array> {
  const child = spawn('xz', ['-dc', '-q', `--memlimit-decompress=${XZ_MEMORY}`], { stdio: ['pipe', 'pipe', 'pipe'] })
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve)
  })
  closed.catch(() => {}) // told below
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString('latin1')).slice(0, 500)))
  child.stdin.on('error', () => {}) // it ended before it had read all: its status says why
  const feeding = feed(child.stdin, input)
  feeding.catch(() => child.kill())
  try {
    yield* child.stdout as Chunks
    await feeding
    const status = await closed
    if (status !== 0) throw damaged(archive, 'xz', escapeControls(said.trim().replace(/^.*?: (?:\(stdin\): )?/, '')))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
    throw new VarveError('E_COMPRESSION', `cannot read ${archive}: the xz command is not installed`, {
      hint: 'apt-get install xz-utils',
      cause,
    })
  } finally {
    child.kill()
  }
}

async function feed(stdin: Writable, input: Chunks): Promise<void> {
  for await (const chunk of input) {
    if (stdin.destroyed) return
    await new Promise<void>((resolve) => void stdin.write(chunk, () => resolve()))
  }
  stdin.end()
}

function damaged(archive: string, compression: Compression, why: string, cause?: unknown): VarveError {
  if (hasCode(cause, 'E_COMPRESSION')) return cause
  return new VarveError('E_COMPRESSION', `cannot read ${archive}: its ${compression} data is damaged: ${why}`, {
    cause,
  })
}

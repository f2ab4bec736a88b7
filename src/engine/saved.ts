// Keeps the layers that are wanted out of what `docker save` and its like write, and stops as soon as it has them.
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { VarveError } from '../errors.ts'
import type { Digest } from '../image/manifest.ts'
import { defaultLimits, openDecompressed, type Limits } from '../tar/decompress.ts'
import { readTar, type TarMember } from '../tar/read.ts'
import { keep, openSpool, readRange } from '../tar/spool.ts'

export type Save = () => Promise<AsyncIterable<Uint8Array>>

export type SavedOptions = {
  /** For messages: `"docker-daemon:app"`. */
  readonly what: string
  readonly spoolDirectory: string
  readonly onProgress: (bytes: number) => void
  readonly limits?: Limits
}

type Place = { readonly offset: number; readonly length: number }

/** Layers are found by what they are, not by what they are called, so that no two writers differ here. */
export class SavedLayers implements AsyncDisposable {
  private readonly save: Save
  private readonly all: ReadonlySet<Digest>
  private readonly options: SavedOptions
  private readonly places = new Map<Digest, Place>()
  private expected: ReadonlySet<Digest> = new Set()
  private spool: FileHandle | undefined
  private end = 0
  private reading: Promise<void> = Promise.resolve()

  constructor(save: Save, diffIds: readonly Digest[], options: SavedOptions) {
    this.save = save
    this.all = new Set(diffIds)
    this.options = options
  }

  expect(diffIds: readonly Digest[]): void {
    this.expected = new Set(diffIds)
  }

  /** The uncompressed archive of a layer. Throws E_BLOB_MISSING, and what the engine and the archive have to say. */
  async *open(diffId: Digest): AsyncGenerator<Uint8Array> {
    // one after another: what one reading brings, the next need not
    const ready = this.reading.then(() => this.fetch(diffId))
    this.reading = ready.catch(() => {})
    await ready
    const place = this.places.get(diffId)
    if (this.spool === undefined || place === undefined) throw this.missing(diffId)
    yield* readRange(this.spool, place, { archive: this.options.what })
  }

  private async fetch(diffId: Digest): Promise<void> {
    if (this.places.has(diffId)) return
    // who asks for what was not expected may go on to ask for any of the others
    const from = this.expected.has(diffId) ? this.expected : this.all
    const wanted = new Set([...from].filter((each) => !this.places.has(each)))
    this.spool ??= await openSpool(this.options.spoolDirectory)
    const archive = this.options.what
    const limits = this.options.limits ?? defaultLimits
    let cut = false
    const members = readTar(await this.save(), {
      archive,
      limits: { entries: limits.entries, bytes: Infinity },
      onWarning: ({ code }) => (cut ||= code === 'W_TAR_EOF'),
    })
    for await (const { member, contents } of members) {
      if (!mayBeLayer(member) || this.isOther(member, wanted)) continue
      const { digest, length } = await this.keep(contents, limits)
      if (!wanted.delete(digest)) continue
      this.places.set(digest, { offset: this.end, length })
      this.end += length
      if (wanted.size === 0) return
    }
    if (cut) throw new VarveError('E_TAR_TRUNC', `cannot read ${archive}: it ends before its end marker`)
    const [first] = wanted
    if (first !== undefined) throw this.missing(first)
  }

  /** A layer that nobody waits for and that is called by its digest need not be hashed. */
  private isOther(member: TarMember, wanted: ReadonlySet<Digest>): boolean {
    const digest = `sha256:${/([0-9a-f]{64})(?:\.tar)?$/.exec(member.path)?.[1]}` as Digest
    return this.all.has(digest) && !wanted.has(digest)
  }

  /** Behind what is kept already; the next takes its place where it is not wanted. */
  private async keep(contents: AsyncIterable<Uint8Array>, limits: Limits): Promise<{ digest: Digest; length: number }> {
    const hash = createHash('sha256')
    let length = 0
    const { what, spoolDirectory, onProgress } = this.options
    const { chunks } = await openDecompressed(contents, { archive: what, limits, onWarning: () => {} })
    for await (const chunk of chunks) {
      hash.update(chunk)
      await keep(chunk, this.spool as FileHandle, { directory: spoolDirectory, position: this.end + length })
      length += chunk.length
      onProgress(this.end + length)
    }
    return { digest: `sha256:${hash.digest('hex')}` as Digest, length }
  }

  private missing(diffId: Digest): VarveError {
    return new VarveError(
      'E_BLOB_MISSING',
      `cannot read ${this.options.what}: the engine did not give its layer ${diffId}`,
      {
        hint: 'the image may have changed: run the command again, or load the image again',
      },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.spool?.close()
    this.spool = undefined
  }
}

/** https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md has the other files' names. */
export function mayBeLayer({ kind, sparse, path }: TarMember): boolean {
  return (
    kind === 'file' &&
    sparse === undefined &&
    !/(?:^|\/)(?:json|[^/]*\.json|VERSION|repositories|oci-layout)$/.test(path)
  )
}

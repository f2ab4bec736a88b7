// Opens one layer: unpacks it into a spool, so that its entries are known and its contents within reach.
import type { ByteString } from '../model/bytes.ts'
import { openSpool, readAtOnce, readContents, spooled } from '../tar/spool.ts'
import { layerEntries, type LayerEntries } from './layer-entries.ts'
import type { ImageLayer } from './open.ts'

export type LayerFile = AsyncDisposable & {
  readonly entries: LayerEntries
  /** A file's bytes, in pieces, or at once where it is small. */
  readonly contents: (path: ByteString, size: number) => AsyncIterable<Uint8Array> | Uint8Array
}

const SMALL = 1 << 20

/** Throws E_DIGEST where the layer is not what its image says, the codes of layerEntries, E_IO, E_NOSPACE. */
export async function openLayerFile(
  layer: ImageLayer,
  options: { readonly spoolDirectory: string; readonly onProgress: (bytes: number) => void },
): Promise<LayerFile> {
  const archive = `the layer ${layer.digest ?? layer.diffId}`
  const spool = await openSpool(options.spoolDirectory)
  try {
    const entries = await layerEntries(told(spooled(layer.open(), spool, options.spoolDirectory), options.onProgress), {
      archive,
    })
    const reading = (path: ByteString): Parameters<typeof readAtOnce>[2] => ({ path, archive, check: () => {} })
    return {
      entries,
      contents: (path, size) =>
        size <= SMALL
          ? readAtOnce(spool, entries.contents, reading(path))
          : readContents(spool, entries.contents, reading(path)),
      [Symbol.asyncDispose]: () => spool.close(),
    }
  } catch (error) {
    await spool.close()
    throw error
  }
}

async function* told(
  chunks: AsyncIterable<Uint8Array>,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    onProgress(bytes)
    yield chunk
  }
}

// cache: what is kept here of what was sent, and freeing it.
import type { CacheSize } from '../store/cache.ts'
import { manifestOf, type Context } from './context.ts'

/** Bytes that the content cache may take after a push. */
export const CACHE_LIMIT = 4e9

export type { CacheSize }

/** Frees what was not used for longest until `limit` bytes are left, where it is given. */
export function cache(limit: number | undefined, context: Context): CacheSize & { readonly freed: number } {
  using manifest = manifestOf(context)
  const freed = limit === undefined ? 0 : manifest.contents.prune(limit)
  return { ...manifest.contents.size(), freed }
}

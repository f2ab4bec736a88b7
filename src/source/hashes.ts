// What files hold, as two hashes: XXH64 says whether contents changed, SHA-256 what they are. Much of it is read by several threads.
import { createHash, hash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { setImmediate as others } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import xxhash from 'xxhash-wasm'
import type { ByteString } from '../model/bytes.ts'
import { CHUNK, readContents, readWhole, type FileTimes } from './contents.ts'

/** XXH64 (https://xxhash.com), seed 0. It can be forged at will: never an identity. */
export type ChangeHash = {
  readonly xxh64: (bytes: Uint8Array) => bigint
  readonly stream: () => { update(bytes: Uint8Array | string): void; digest(): bigint }
}

export async function makeChangeHash(): Promise<ChangeHash> {
  const wasm = await xxhash()
  return {
    xxh64: (bytes) => wasm.h64Raw(bytes),
    stream: () => {
      const state = wasm.create64()
      return { update: (bytes) => void state.update(bytes), digest: () => state.digest() }
    },
  }
}

export type Hashes = { readonly xxh64: bigint; readonly sha256: string }

/** A file to be read, and what it held when it had the same size. */
export type Unread = FileTimes & { readonly path: ByteString; readonly before: Hashes | undefined }

/** What a thread is asked. It answers for each file, with undefined where it could not read it. */
export type Batch = { readonly root: ByteString; readonly files: readonly Unread[] }

/** Throws what readContents throws. `scratch` holds 1 MiB. */
export function hashesOf(root: ByteString, file: Unread, changes: ChangeHash, scratch: Buffer): Hashes {
  const { path, before } = file
  if (file.size <= CHUNK) {
    const bytes = readWhole(root, path, file, scratch)
    const xxh64 = changes.xxh64(bytes)
    return { xxh64, sha256: before?.xxh64 === xxh64 ? before.sha256 : hash('sha256', bytes, 'hex') }
  }
  const sha = createHash('sha256')
  const hint = changes.stream()
  for (const chunk of readContents(root, path, file, scratch)) {
    hint.update(chunk)
    if (before === undefined) sha.update(chunk)
  }
  const xxh64 = hint.digest()
  if (before !== undefined) {
    if (before.xxh64 === xxh64) return before
    for (const chunk of readContents(root, path, file, scratch)) sha.update(chunk)
  }
  return { xxh64, sha256: sha.digest('hex') }
}

/** What is read sooner than a thread has started. */
const LITTLE = { files: 1000, bytes: 32 << 20 }
const MOST_THREADS = 3
const BATCH = { files: 64, bytes: 4 << 20 }
/** So long at a time the thread is not given to others, such as a connection that is made meanwhile. */
const TURN_MS = 5

export async function inTurns(since: number): Promise<number> {
  if (performance.now() - since < TURN_MS) return since
  await others()
  return performance.now()
}

/**
 * Reads files, this thread from the front and others from the back. `read` reads one here, and may refuse it by undefined:
 * then it is not in the answer. What another thread could not read is read here, so that it is told as it is otherwise.
 */
export async function readAll(
  { root, files }: Batch,
  read: (file: Unread) => Hashes | undefined,
  onProgress: (progress: { entries: number; bytes: number }) => void,
): Promise<Map<ByteString, Hashes>> {
  const found = new Map<ByteString, Hashes>()
  const batches = batchesOf(files)
  const done = { entries: 0, bytes: 0 }
  const keep = (file: Unread, hashes: Hashes | undefined): void => {
    if (hashes !== undefined) found.set(file.path, hashes)
    done.entries++
    done.bytes += file.size
    if (done.entries % 1024 === 0) onProgress({ ...done })
  }
  const failed: Unread[] = []
  const threads = Array.from({ length: threadsFor(files) }, () => startThread(root, batches, (file, hashes) => (hashes === undefined ? failed.push(file) : keep(file, hashes)))) // prettier-ignore
  try {
    let turn = performance.now()
    const readHere = async (some: readonly Unread[]): Promise<void> => {
      for (const file of some) {
        turn = await inTurns(turn)
        keep(file, read(file))
      }
    }
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) await readHere(batch)
    await Promise.all(threads.map(({ idle }) => idle))
    await readHere(failed)
    return found
  } finally {
    for (const { worker } of threads) void worker.terminate()
  }
}

function threadsFor(files: readonly Unread[]): number {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (files.length < LITTLE.files && bytes < LITTLE.bytes) return 0
  return Math.min(MOST_THREADS, availableParallelism() - 1)
}

function batchesOf(files: readonly Unread[]): Unread[][] {
  const batches: Unread[][] = []
  let bytes = Infinity
  for (const file of files) {
    if (bytes >= BATCH.bytes || batches.at(-1)?.length === BATCH.files) {
      batches.push([])
      bytes = 0
    }
    batches.at(-1)?.push(file)
    bytes += file.size
  }
  return batches
}

type Thread = { readonly worker: Worker; readonly idle: Promise<void> }

/** Takes batches until there are none; `idle` then. One that breaks gives back what it had. */
function startThread(
  root: ByteString,
  batches: Unread[][],
  told: (file: Unread, hashes: Hashes | undefined) => void,
): Thread {
  const worker = new Worker(new URL('./hasher.js', import.meta.url))
  const idle = new Promise<void>((resolve) => {
    let mine: readonly Unread[] = []
    const next = (): void => {
      mine = batches.pop() ?? []
      if (mine.length === 0) return resolve()
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none, a window has
      worker.postMessage({ root, files: mine } satisfies Batch)
    }
    worker.on('message', (answer: readonly (Hashes | undefined)[]) => {
      for (const [i, file] of mine.entries()) told(file, answer[i])
      next()
    })
    worker.on('error', () => {
      for (const file of mine) told(file, undefined)
      resolve()
    })
    next()
  })
  return { worker, idle }
}

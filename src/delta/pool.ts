// Worker threads for what takes a processor long: patches and frames of several files are made at once.
import { Worker } from 'node:worker_threads'
import { answer, isObvious, sizeOf, type Answer, type Job } from './work.ts'

export type Pool = AsyncDisposable & {
  readonly cores: number
  /** The same job has the same answer, wherever it runs; `give` see there. Its bytes are the pool's from then on. */
  run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    give?: (part: Uint8Array) => void,
  ): Promise<Answer<Kind>>
}

/**
 * What is done sooner than a thread has started, in all, for what is done here keeps the connection waiting; at the levels that zstd has
 * for archives, a tenth of that takes as long.
 */
const SMALL = 1 << 20
const STRONG = { level: 17, weight: 10 }

type Waiting = {
  readonly job: Job
  give(part: Uint8Array): void
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** Threads are started when they are needed, and end with the pool. */
export function startPool(cores: number): Pool {
  const waiting: Waiting[] = []
  const idle: Worker[] = []
  const all = new Map<Worker, Waiting | undefined>()
  let ended = false
  let doneHere = 0
  const isForHere = (job: Job): boolean => {
    if (isObvious(job)) return true
    const weight = sizeOf(job) * ('level' in job && job.level >= STRONG.level ? STRONG.weight : 1)
    if (doneHere + weight >= SMALL) return false
    doneHere += weight
    return true
  }
  const next = (): void => {
    const first = waiting[0]
    if (first === undefined || ended) return
    const worker = idle.pop() ?? (all.size < cores ? started() : undefined)
    if (worker === undefined) return
    waiting.shift()
    all.set(worker, first)
    worker.ref()
    worker.postMessage(first.job, movable(first.job))
  }
  const started = (): Worker => {
    const worker = new Worker(new URL('./worker.js', import.meta.url))
    const done = (settle: (job: Waiting) => void): void => {
      const job = all.get(worker)
      all.set(worker, undefined)
      // what is ended while it answers must be waited for: the process would go without a word
      if (!ended) worker.unref()
      if (job !== undefined) settle(job)
    }
    worker.on(
      'message',
      (value: { readonly answer?: unknown; readonly error?: unknown; readonly part?: Uint8Array }) => {
        if (value.part !== undefined) return all.get(worker)?.give(value.part)
        idle.push(worker)
        done((job) => ('error' in value ? job.reject(value.error) : job.resolve(value.answer)))
        next()
      },
    )
    worker.on('error', (error) => {
      done((job) => job.reject(error))
      all.delete(worker)
      next()
    })
    return worker
  }
  return {
    cores,
    run: <Kind extends Job['kind']>(
      job: Extract<Job, { kind: Kind }>,
      give: (part: Uint8Array) => void = () => {},
    ): Promise<Answer<Kind>> =>
      isForHere(job)
        ? Promise.resolve(answer(job, give) as Answer<Kind>)
        : new Promise((resolve, reject) => {
            waiting.push({ job, give, resolve, reject })
            next()
          }),
    async [Symbol.asyncDispose]() {
      ended = true
      await Promise.all([...all.keys()].map((worker) => worker.terminate()))
    },
  }
}

/** Memory that belongs to the job alone is handed over, not copied. */
function movable(job: Job): ArrayBuffer[] {
  const arrays = [...('before' in job ? [job.before] : []), 'now' in job ? job.now : job.bytes]
  return arrays.flatMap(({ buffer, byteLength }) =>
    buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [],
  )
}

// A thread of the pool: does one job at a time and sends back its answer.
import { parentPort } from 'node:worker_threads'
import { answer, type Job } from './work.ts'

const reply = (value: { readonly answer: unknown } | { readonly error: unknown } | { readonly part: unknown }): void =>
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port has none, a window has
  parentPort?.postMessage(value)

parentPort?.on('message', (job: Job) => {
  try {
    reply({ answer: answer(job, (part) => reply({ part })) })
  } catch (error) {
    reply({ error })
  }
})

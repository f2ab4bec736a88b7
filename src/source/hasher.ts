// A thread that reads files: takes a batch at a time and sends back the hashes of each.
import { parentPort } from 'node:worker_threads'
import { CHUNK } from './contents.ts'
import { hashesOf, makeChangeHash, type Batch, type Hashes } from './hashes.ts'

const scratch = Buffer.allocUnsafe(CHUNK)
const changes = await makeChangeHash()

function attempt(root: Batch['root'], file: Batch['files'][number]): Hashes | undefined {
  try {
    return hashesOf(root, file, changes, scratch)
  } catch {
    return undefined // who asked reads it again, and tells why that fails
  }
}

parentPort?.on('message', ({ root, files }: Batch) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port has none, a window has
  parentPort?.postMessage(files.map((file) => attempt(root, file)))
})

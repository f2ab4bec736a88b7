// Runs commands for the bench: wall time, peak memory, and rows of a table.
import { spawn, spawnSync } from 'node:child_process'

export type Timed = { readonly seconds: number; readonly stdout: string }

/** Runs a shell command to its end. Throws with what it said where it fails. */
export function timed(command: string, env: NodeJS.ProcessEnv = {}): Timed {
  const before = performance.now()
  const run = spawnSync('bash', ['-o', 'pipefail', '-c', command], {
    maxBuffer: 1 << 30,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  const seconds = (performance.now() - before) / 1000
  if (run.status !== 0) throw new Error(`${command} ended with ${run.status}: ${run.stderr.slice(-2000)}`)
  return { seconds, stdout: run.stdout }
}

/** The same without standing in the way of the proxies of this process. */
export function finished(command: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = spawn('bash', ['-o', 'pipefail', '-c', command], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-2000)))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status) => {
      if (status === 0) resolve(stdout)
      else reject(new Error(`${command} ended with ${status}: ${stderr}`))
    })
  })
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

export function row(...cells: readonly (string | number)[]): void {
  process.stdout.write(
    `${cells.map((cell, i) => (i === 0 ? String(cell).padEnd(46) : (typeof cell === 'number' ? cell.toLocaleString('en') : cell).padStart(14))).join(' ')}\n`,
  )
}

// Runs commands on this machine as if it were a host: the same command lines, without SSH.
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel, Transport } from './transport.ts'

const GOODBYE_MS = 2000

export function connectLocal(): Transport {
  const exits: Promise<unknown>[] = []
  return {
    exec: async (command) => {
      const channel = start(command)
      exits.push(channel.exit)
      return channel
    },
    traffic: () => ({ sent: 0, received: 0 }),
    [Symbol.asyncDispose]: async () => {
      await Promise.race([Promise.all(exits), sleep(GOODBYE_MS, undefined, { ref: false })])
    },
  }
}

function start(command: string): Channel {
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['pipe', 'pipe', 'pipe'] })
  const exit = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('close', (status) => resolve(status))
  })
  // a program that ends early closes its input: its exit status tells, not the broken pipe
  child.stdin.on('error', () => {})
  return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, exit, close: () => child.stdin.end() }
}

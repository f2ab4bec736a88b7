// Two real OpenSSH servers on the loopback interface, and a user with keys and a home of their own.
import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import type { Ask } from '../../src/host/login.ts'
import type { SshOptions } from '../../src/host/ssh.ts'
import { connectSsh } from '../../src/host/ssh.ts'
import type { Transport } from '../../src/host/transport.ts'

export const room = mkdtempSync(join(tmpdir(), 'varve-ssh-'))
export const home = join(room, 'home')
export const hosts = join(home, '.ssh/known_hosts')
const children: ChildProcess[] = []
/** The ports of two servers: the first has keys of three types, the second one. */
export const ports = { first: 0, second: 0 }

/** Children die with the test runner, however it dies. */
export function start(...words: string[]): ChildProcess {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...words], { stdio: 'ignore' })
  children.push(child)
  return child
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export async function answers(target: number | string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const socket = typeof target === 'number' ? connect(target, '127.0.0.1') : connect(target)
    const up = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (up) return
    await sleep(50)
  }
  throw new Error(`nothing answers at ${target}`)
}

function keygen(name: string, type = 'ed25519', passphrase = '', more: string[] = []): string {
  const file = join(room, name)
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', '', '-f', file, ...more])
  return file
}

async function sshd(name: string, keys: string[]): Promise<number> {
  const port = await freePort()
  const file = join(room, `${name}.conf`)
  const lines = [
    `ListenAddress 127.0.0.1:${port}`,
    `PidFile ${join(room, `${name}.pid`)}`,
    ...keys.map((key) => `HostKey ${key}`),
    `AuthorizedKeysFile ${join(room, 'authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'AllowUsers root',
    'PermitRootLogin prohibit-password',
    'KbdInteractiveAuthentication no',
    'AllowTcpForwarding yes',
    `SetEnv HOME=${home}`, // what root's own shell start-up files do, say or wait for is not ours to test
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  mkdirSync('/run/sshd', { recursive: true })
  start('/usr/sbin/sshd', '-D', '-e', '-f', file)
  await answers(port)
  return port
}

export function options(more: Partial<SshOptions> = {}): SshOptions {
  return { user: 'root', home, identities: [join(room, 'user')], acceptNew: false, ...more }
}

export function open(more: Partial<SshOptions> = {}, at = ports.first): Promise<Transport> {
  return connectSsh({ kind: 'ssh', host: '127.0.0.1', user: 'root', port: at }, options(more))
}

export async function say(transport: Transport, command: string): Promise<string> {
  const channel = await transport.exec(command)
  channel.stdin.end()
  return await text(channel.stdout)
}

export function publicText(file: string): string {
  return readFileSync(`${file}.pub`, 'utf8').trim()
}

export function knowing(...lines: string[]): void {
  writeFileSync(hosts, lines.map((line) => `${line}\n`).join(''))
}

export function asking(answer: string | undefined): Ask & { asked: string[] } {
  const asked: string[] = []
  const ask: Ask = async (question) => {
    asked.push(`${question.kind}: ${question.prompt}`)
    return answer
  }
  return Object.assign(ask, { asked })
}

/** Starts the servers before a file's tests, and makes the user's home new before each of them. */
export function useServers(): void {
  beforeAll(async () => {
    mkdirSync(join(home, '.ssh'), { recursive: true, mode: 0o700 })
    for (const name of ['host-ed', 'other-ed', 'user', 'stranger']) keygen(name)
    keygen('host-ec', 'ecdsa')
    keygen('host-rsa', 'rsa')
    keygen('user-ec', 'ecdsa')
    keygen('user-rsa', 'rsa')
    keygen('locked', 'ed25519', 'open sesame')
    keygen('locked-pem', 'rsa', 'open sesame', ['-m', 'PEM'])
    const users = ['user', 'user-ec', 'user-rsa', 'locked', 'locked-pem'].map((name) => publicText(join(room, name)))
    writeFileSync(join(room, 'authorized_keys'), `${users.join('\n')}\n`)
    ports.first = await sshd('first', [join(room, 'host-ed'), join(room, 'host-ec'), join(room, 'host-rsa')])
    ports.second = await sshd('second', [join(room, 'other-ed')])
  })

  afterAll(() => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(room, { recursive: true, force: true })
  })

  beforeEach(() => {
    const first = ['host-ed', 'host-ec'].map((name) => `[127.0.0.1]:${ports.first} ${publicText(join(room, name))}`)
    knowing(...first, `[127.0.0.1]:${ports.second} ${publicText(join(room, 'other-ed'))}`)
    rmSync(join(home, '.ssh/config'), { force: true })
  })
}

// Puts this machine's Debian packages on a throw-away host, with what they need and the host lacks.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Host } from '../test/fixture/host.ts'

const closures = new Map<string, Buffer>()

export async function give(host: Host, packages: readonly string[]): Promise<void> {
  const status = readFileSync(host.path('/var/lib/dpkg/status'), 'utf8')
  const has = [...status.matchAll(/^Package: (.*)$/gm)].map((match) => match[1] ?? '')
  const key = packages.join(' ')
  const archive = closures.get(key) ?? archiveOf(packages, new Set(has))
  closures.set(key, archive)
  await inHost(host, 'tar -x -C / --skip-old-files --keep-directory-symlink && ldconfig', archive)
}

/** Runs a command on the host, past the link; throws with what it said where it fails. */
export async function inHost(host: Host, command: string, input?: Uint8Array): Promise<void> {
  const { status, stderr } = await host.exec(command, input)
  if (status !== 0) throw new Error(`${command} ended with ${status} on the host: ${stderr.slice(-2000)}`)
}

function archiveOf(packages: readonly string[], has: ReadonlySet<string>): Buffer {
  const no = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((kind) => `--no-${kind}`)
  const closure = text('apt-cache', ['depends', '--recurse', '--installed', ...no, ...packages])
    .split('\n')
    .filter((line) => /^[a-z0-9]/.test(line))
  const installed = text('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n'])
  const lacking = [...new Set(closure)].filter((name) => !has.has(name) && installed.includes(`\n${name} installed\n`))
  const files = text('dpkg', ['-L', ...lacking])
    .split('\n')
    .filter((path) => path.startsWith('/') && !path.startsWith('/usr/share/') && path !== '/.')
  return execFileSync('tar', ['-c', '--no-recursion', '--ignore-failed-read', '-T', '-'], {
    input: [...new Set(files)].join('\n'),
    maxBuffer: 1 << 30,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
}

function text(program: string, words: readonly string[]): string {
  return execFileSync(program, words, { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] })
}

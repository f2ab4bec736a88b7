// From the process to a verb's context: directories, the login, the terminal to ask at.
import { mkdirSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { VarveError } from '../errors.ts'
import { checkHostPath, parsePlatform, type Context, type Question } from '../verbs/context.ts'
import type { Output } from './output.ts'

export type CommonOptions = {
  store: string
  bundleDir: string
  format: 'text' | 'json'
  json?: true
  progress: 'auto' | 'bar' | 'lines' | 'off'
  verbose?: true
  quiet?: true
  identity: string[]
  sshConfig?: string
  acceptNew?: true
  stateDir?: string
  debug?: true
  platform?: string
  insecure?: true
  pause?: boolean
  retries?: number
  bwlimit?: number
  effort?: 'fast' | 'auto' | 'max'
}

export function makeContext(
  process: NodeJS.Process,
  options: CommonOptions,
  { output, undo }: { readonly output: Output; readonly undo: Context['undo'] },
): Context {
  if (options.verbose === true && options.quiet === true)
    throw new VarveError('E_USAGE', 'cannot be verbose and quiet at once', { hint: 'leave out -v or -q' })
  for (const path of [options.store, options.bundleDir]) checkHostPath(path)
  const { env } = process
  const home = env['HOME'] ?? homedir()
  const state = options.stateDir ?? join(env['XDG_STATE_HOME'] ?? join(home, '.local', 'state'), 'varve')
  return {
    stateDirectory: madeDirectory(resolve(state)),
    store: options.store.replace(/(?<=.)\/+$/, ''),
    bundles: options.bundleDir.replace(/(?<=.)\/+$/, ''),
    login: {
      user: userInfo().username,
      home,
      agentSocket: env['SSH_AUTH_SOCK'],
      identities: options.identity.map((file) => resolve(file)),
      configFile: options.sshConfig === undefined ? undefined : resolve(options.sshConfig),
      acceptNew: options.acceptNew === true,
    },
    image: {
      ...(options.platform === undefined ? {} : { platform: parsePlatform(options.platform) }),
      ...(options.insecure === true ? { insecure: true } : {}),
      ...(options.pause === undefined ? {} : { pause: options.pause }),
    },
    ...(options.retries === undefined ? {} : { retries: options.retries }),
    ...(options.effort === undefined ? {} : { effort: options.effort }),
    ...(options.bwlimit === undefined ? {} : { bytesPerSecond: options.bwlimit }),
    environment: env,
    stdin: process.stdin,
    undo,
    ask:
      process.stdin.isTTY && process.stderr.isTTY
        ? (question) => output.pausedFor(() => ask(process, question))
        : undefined,
    onEvent: (event) => output.event(event),
  }
}

function madeDirectory(directory: string): string {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new VarveError(
      'E_IO',
      `cannot make the state directory "${directory}": ${(cause as NodeJS.ErrnoException).code ?? 'unknown'}`,
      { hint: 'name another with --state-dir DIR', cause },
    )
  }
  return directory
}

/** Asks at the terminal; what is typed to a password or passphrase is not shown. */
async function ask(process: NodeJS.Process, { kind, prompt }: Question): Promise<string | undefined> {
  const hidden = kind !== 'confirm'
  const shown = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (!hidden) process.stderr.write(chunk)
      done()
    },
  })
  // the terminal's own echo ends here, before anybody is asked to type
  const lines = createInterface({ input: process.stdin, output: shown, terminal: true, historySize: 0 })
  process.stderr.write(prompt)
  try {
    return await new Promise<string | undefined>((resolve) => {
      lines.once('line', resolve)
      const ended = (): void => resolve(undefined)
      lines.once('close', ended)
      // no answer then, not even none: the signal ends it all
      lines.once('SIGINT', () => {
        lines.off('close', ended).close()
        if (hidden) process.stderr.write('\n')
        process.kill(process.pid, 'SIGINT')
      })
    })
  } finally {
    lines.close()
    process.stdin.pause()
    if (hidden) process.stderr.write('\n')
  }
}

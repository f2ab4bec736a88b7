// What the user's ssh_config says about a host: its address, user, keys, known_hosts files and the jumps on the way.
import { execFile } from 'node:child_process'
import { access, readFile, readdir } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { promisify } from 'node:util'
import { parse } from 'ssh-config'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import type { HostRef } from '../model/names.ts'
import { hostText, parseHost } from '../model/names.ts'

export type SshHost = Extract<HostRef, { kind: 'ssh' }>

export type SshSettings = {
  readonly hostname: string
  readonly port: number
  readonly user: string
  readonly identityFiles: readonly string[]
  readonly identitiesOnly: boolean
  /** A socket's path, 'none', or undefined where the caller's own agent is meant. */
  readonly agent: string | undefined
  /** In the order in which they are passed through. */
  readonly jumps: readonly SshHost[]
  readonly userKnownHosts: readonly string[]
  readonly globalKnownHosts: readonly string[]
  readonly hostKeyAlias: string | undefined
  readonly acceptNew: boolean
  /** How often a silent host is asked for a sign of life, and how many may stay unanswered. */
  readonly alive: { readonly intervalMs: number; readonly most: number }
}

export type ConfigOptions = {
  /** The local login name. */
  readonly user: string
  readonly home: string
  readonly configFile?: string
  readonly identities?: readonly string[]
  /** The OpenSSH client; where it does not exist, varve reads the files by itself. */
  readonly program?: string
}

type Words = ReadonlyMap<string, readonly string[]>

const SYSTEM_CONFIG = '/etc/ssh/ssh_config'
const DEFAULT_KEYS = ['~/.ssh/id_ed25519', '~/.ssh/id_ecdsa', '~/.ssh/id_rsa']
const ALIVE = { intervalMs: 15_000, most: 4 }
const INCLUDE_DEPTH = 16

/** Throws E_CONFIG for a configuration that is broken or asks for what varve cannot do. */
export async function resolveSsh(host: SshHost, options: ConfigOptions): Promise<SshSettings> {
  const words = (await askOpenSsh(host, options)) ?? (await readFiles(host, options))
  const one = (name: string): string | undefined => words.get(name)?.[0]
  const command = one('proxycommand')
  if (command !== undefined && command !== 'none')
    throw new VarveError('E_CONFIG', `cannot connect to "${hostText(host)}": ProxyCommand is not supported`, {
      hint: `name the host in between with ProxyJump instead`,
    })
  const hostname = (one('hostname') ?? host.host).replaceAll('%h', host.host).replaceAll('%%', '%')
  const port = host.port ?? Number(one('port') ?? 22)
  const user = host.user ?? one('user') ?? options.user
  const path = (text: string): string =>
    expand(text, options.home, { h: hostname, n: host.host, p: String(port), r: user, u: options.user })
  const paths = (name: string, fallback: readonly string[]): string[] =>
    (words.get(name) ?? fallback)
      .flatMap(split)
      .filter((file) => file !== 'none')
      .map(path)
  const agent = one('identityagent')
  return {
    hostname,
    port,
    user,
    identityFiles: (words.get('identityfile') ?? DEFAULT_KEYS).filter((file) => file !== 'none').map(path),
    identitiesOnly: one('identitiesonly') === 'yes',
    agent: agent === undefined || agent === 'SSH_AUTH_SOCK' || agent.startsWith('$') ? undefined : path(agent),
    jumps: jumpsOf(host, one('proxyjump') ?? 'none'),
    userKnownHosts: paths('userknownhostsfile', ['~/.ssh/known_hosts', '~/.ssh/known_hosts2']),
    globalKnownHosts: paths('globalknownhostsfile', ['/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2']),
    hostKeyAlias: one('hostkeyalias'),
    acceptNew: one('stricthostkeychecking') === 'accept-new',
    alive: aliveOf(Number(one('serveraliveinterval') ?? 0), Number(one('serveralivecountmax') ?? 3)),
  }
}

/** ssh asks for none unless told to; here a dead link must end some time. */
function aliveOf(seconds: number, most: number): SshSettings['alive'] {
  return seconds > 0 && most > 0 ? { intervalMs: seconds * 1000, most } : ALIVE
}

function jumpsOf(host: SshHost, list: string): SshHost[] {
  if (list === 'none') return []
  return list.split(',').map((word) => {
    const jump = parseHost(word.startsWith('ssh://') ? word : `ssh://${word.trim()}`).host
    if (jump.kind === 'ssh') return jump
    throw new VarveError('E_CONFIG', `cannot connect to "${hostText(host)}": ProxyJump names no host`)
  })
}

/** `ssh -G` resolves a configuration exactly; undefined where there is no ssh. It may run `Match exec`, as ssh does. */
async function askOpenSsh(host: SshHost, options: ConfigOptions): Promise<Words | undefined> {
  const config = await configFor(options)
  const words = [
    '-G',
    ...(config === undefined ? [] : ['-F', config]),
    ...(options.identities ?? []).flatMap((file) => ['-i', file]),
    ...(host.port === undefined ? [] : ['-p', String(host.port)]),
    ...(host.user === undefined ? [] : ['-l', host.user]),
    '--',
    host.host,
  ]
  try {
    const { stdout } = await promisify(execFile)(options.program ?? 'ssh', words, { timeout: 10_000 })
    return rehomed(gather(stdout.split('\n').map((line) => /^(\S+) (.*)$/.exec(line))), options.home)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const said = (error as { stderr?: string }).stderr?.trim().split('\n')[0] ?? messageOf(error)
    throw new VarveError(
      'E_CONFIG',
      `cannot read the ssh configuration of "${hostText(host)}": ${escapeControls(said)}`,
      {
        hint: `ssh -G ${words
          .slice(1)
          .map((word) => escapeControls(word))
          .join(' ')}`,
        cause: error,
      },
    )
  }
}

/** ssh takes the home from the password database; the caller's home, where it is another one, must win. */
async function configFor(options: ConfigOptions): Promise<string | undefined> {
  if (options.configFile !== undefined) return options.configFile
  if (options.home === userInfo().homedir) return undefined
  for (const file of [join(options.home, '.ssh/config'), SYSTEM_CONFIG]) if (await exists(file)) return file
  return 'none'
}

/** What ssh has already expanded from `~/.ssh/` is turned back, so that the caller's home applies. */
function rehomed(words: Words, home: string): Words {
  const other = join(userInfo().homedir, '.ssh/')
  if (other === join(home, '.ssh/')) return words
  const turned = (value: string): string =>
    split(value)
      .map((word) => (word.startsWith(other) ? `~/.ssh/${word.slice(other.length)}` : word))
      .join(' ')
  const files = ['userknownhostsfile', 'identityagent']
  return new Map([...words].map(([name, values]) => [name, files.includes(name) ? values.map(turned) : values]))
}

function gather(lines: readonly (readonly string[] | null)[]): Words {
  const words = new Map<string, string[]>()
  for (const line of lines) {
    const [, name, value] = line ?? []
    if (name === undefined || value === undefined) continue
    const key = name.toLowerCase()
    words.set(key, [...(words.get(key) ?? []), value])
  }
  return words
}

/** The way without the ssh program: no `Match exec` is ever run. */
async function readFiles(host: SshHost, options: ConfigOptions): Promise<Words> {
  const own = options.configFile ?? join(options.home, '.ssh/config')
  const about: About = { host, home: options.home }
  const texts = [await includedText(own, about, { depth: 0, must: options.configFile !== undefined })]
  if (options.configFile === undefined) texts.push(await includedText(SYSTEM_CONFIG, about, { depth: 0, must: false }))
  const computed = compute(texts.join('\nHost *\n'), about)
  const pairs = Object.entries(computed).flatMap(([name, value]) => [value].flat().map((one) => ['', name, one]))
  const identities = (options.identities ?? []).map((file) => ['', 'identityfile', file])
  return gather([...identities, ...pairs])
}

type About = { readonly host: SshHost; readonly home: string }

function compute(text: string, about: About): Record<string, string | string[]> {
  try {
    const config = parse(text)
    const { host, user } = about.host
    const query = user === undefined ? { Host: host } : { Host: host, User: user }
    return config.compute(query, { ignoreCase: true, matchExec: false })
  } catch (error) {
    throw new VarveError('E_CONFIG', `cannot read the ssh configuration: ${escapeControls(messageOf(error))}`, {
      hint: `ssh -G ${about.host.host}`,
      cause: error,
    })
  }
}

/** A file's text with each Include in its place, where the block around it is one for this host. */
async function includedText(file: string, about: About, how: { depth: number; must: boolean }): Promise<string> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (!how.must && (error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw new VarveError('E_CONFIG', `cannot read "${escapeControls(file)}": ${escapeControls(messageOf(error))}`, {
      hint: `ls -l ${escapeControls(file)}`,
      cause: error,
    })
  }
  const out: string[] = []
  let block = 'Host *'
  for (const line of text.split('\n')) {
    if (/^\s*(?:host|match)[\s=]/i.test(line)) block = line
    const include = /^\s*include[\s=]+(.*?)\s*$/i.exec(line)?.[1]
    if (include === undefined) {
      out.push(line)
      continue
    }
    if (how.depth >= INCLUDE_DEPTH)
      throw new VarveError(
        'E_CONFIG',
        `cannot read "${escapeControls(file)}": more than ${INCLUDE_DEPTH} files include one another`,
      )
    if (compute(`${block}\n  Tag varve`, about)['tag'] === undefined) continue
    for (const found of await globbed(split(include), about.home))
      out.push(await includedText(found, about, { depth: how.depth + 1, must: false }), block)
  }
  return out.join('\n')
}

async function globbed(patterns: readonly string[], home: string): Promise<string[]> {
  const files: string[] = []
  for (const pattern of patterns) {
    const path = expand(pattern, home, {})
    const full = isAbsolute(path) ? path : join(home, '.ssh', path)
    const name = new RegExp(
      `^${basename(full)
        .replace(/[.+^${}()|[\]\\]/g, '\\$&')
        .replaceAll('*', '.*')
        .replaceAll('?', '.')}$`,
    )
    const names = await readdir(dirname(full)).catch(() => [])
    files.push(
      ...names
        .filter((one) => name.test(one))
        .toSorted()
        .map((one) => join(dirname(full), one)),
    )
  }
  return files
}

function expand(text: string, home: string, tokens: Readonly<Record<string, string>>): string {
  const path = text.replace(/^"(.*)"$/, '$1').replace(/^~(?=\/|$)/, home)
  return path.replace(/%([%a-zA-Z])/g, (whole, token: string) => {
    if (token === '%') return '%'
    return token === 'd' ? home : (tokens[token] ?? whole)
  })
}

function split(text: string): string[] {
  return text.match(/"[^"]*"|\S+/g) ?? []
}

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  )
}

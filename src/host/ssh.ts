// A host at the other end of an SSH connection: the way there, the checks on the way, and the commands run over it.
import { once, setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import { callbackify } from 'node:util'
import type { Algorithms, AnyAuthMethod, BaseAgent, ParsedKey, SignCallback, SigningRequestOptions } from 'ssh2'
import ssh2 from 'ssh2'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { hostText } from '../model/names.ts'
import type { KnownHost } from './known-hosts.ts'
import { checkHostKey, knownHostName, readKnownHosts, typesFor } from './known-hosts.ts'
import type { Agent, Ask, Attempt, Attempts, Identity, Key } from './login.ts'
import { agentIdentities, loginAttempts, stopwatch } from './login.ts'
import type { SshHost, SshSettings } from './ssh-config.ts'
import { resolveSsh } from './ssh-config.ts'
import type { Channel, Transport } from './transport.ts'
import { channelOver } from './transport.ts'

export type SshOptions = {
  /** The local login name. */
  readonly user: string
  readonly home: string
  readonly agentSocket?: string
  /** Key files named by the user; tried first. */
  readonly identities: readonly string[]
  readonly configFile?: string
  /** Takes a host key not seen before without a question, and writes it down. */
  readonly acceptNew: boolean
  readonly ask?: Ask
  readonly connectTimeoutMs?: number
  /** Ends the connection, whatever state it is in. */
  readonly signal?: AbortSignal
}

/** One server on the way: the last is the host itself, those before it are jumps. */
type Hop = { readonly label: string; readonly settings: SshSettings; readonly lines: readonly KnownHost[] }
type Session = SshOptions & { readonly unlocked: Map<string, Key> }
type HostKeyAlgorithms = NonNullable<Algorithms['serverHostKey']>
type Client = InstanceType<typeof ssh2.Client>

const WAIT_MS = 20_000
const GOODBYE_MS = 1000
const LATE = 'no answer in time'
const MAX_HOPS = 8
const HOST_KEYS = 'ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 rsa-sha2-512 rsa-sha2-256'
const ALGORITHMS = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group16-sha512',
  ],
  cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes256-ctr', 'aes128-ctr'],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'],
  compress: ['none'],
} satisfies Algorithms

/**
 * Connects, checks the host's key and logs in. Throws E_CONFIG, E_CONNECT, E_TIMEOUT, E_AUTH, E_KEY, E_KNOWN_HOSTS,
 * E_HOSTKEY_UNKNOWN, E_HOSTKEY_CHANGED, E_HOSTKEY_REVOKED.
 */
export async function connectSsh(host: SshHost, options: SshOptions): Promise<Transport> {
  const hops = await route(host, options, { depth: 0, direct: false })
  const session: Session = { ...options, unlocked: new Map() }
  const socket = await dial(hops[0], session)
  options.signal?.addEventListener('abort', () => socket.destroy(), { once: true })
  const clients: Client[] = []
  try {
    let stream: Duplex = socket
    for (const [index, hop] of hops.entries()) {
      const client = await login(hop, session, stream)
      clients.push(client)
      const next = hops[index + 1]
      if (next !== undefined) stream = await forward(client, next)
    }
  } catch (error) {
    socket.destroy()
    throw error
  }
  return transport(hostText(host), clients, socket)
}

/** Only the first jump of a list may have a jump of its own: the others are reached through it, as with ssh -J. */
async function route(
  host: SshHost,
  options: SshOptions,
  how: { depth: number; direct: boolean },
): Promise<[Hop, ...Hop[]]> {
  if (how.depth >= MAX_HOPS)
    throw new VarveError(
      'E_CONFIG',
      `cannot connect to "${hostText(host)}": its ProxyJump goes through more than ${MAX_HOPS} hosts`,
      {
        hint: `ssh -G ${host.host}`,
      },
    )
  const settings = await resolveSsh(host, options)
  const lines = await readKnownHosts([...settings.userKnownHosts, ...settings.globalKnownHosts])
  const self: Hop = { label: hostText(host), settings, lines }
  if (how.direct) return [self]
  const ways = await Promise.all(
    settings.jumps.map((jump, index) => route(jump, options, { depth: how.depth + 1, direct: index > 0 })),
  )
  const [first, ...rest] = [...ways.flat(), self]
  return [first ?? self, ...rest]
}

async function dial(hop: Hop, session: Session): Promise<Socket> {
  const { hostname, port } = hop.settings
  const socket = connect({ host: hostname, port, noDelay: true })
  socket.on('error', () => undefined) // from here on a loss is told by 'close'
  const patience = AbortSignal.timeout(session.connectTimeoutMs ?? WAIT_MS)
  try {
    await once(socket, 'connect', { signal: AbortSignal.any([patience, session.signal ?? patience]) })
    return socket
  } catch (error) {
    socket.destroy()
    if (patience.aborted) throw cannotConnect(hop, LATE, error)
    const { code } = error as NodeJS.ErrnoException
    const said = code === 'ECONNREFUSED' ? 'connection refused' : code === 'ENOTFOUND' ? 'unknown host name' : code
    throw cannotConnect(hop, `${said ?? messageOf(error)} (${hostname} port ${port})`, error)
  }
}

function forward(client: Client, hop: Hop): Promise<Duplex> {
  const { hostname, port } = hop.settings
  return new Promise((resolve, reject) => {
    client.forwardOut('127.0.0.1', 0, hostname, port, (error, stream) => {
      if (error === undefined) resolve(stream)
      else reject(cannotConnect(hop, `the jump before it answers: ${messageOf(error)}`, error))
    })
  })
}

async function login(hop: Hop, session: Session, stream: Duplex): Promise<Client> {
  const { settings, label, lines } = hop
  const agent = settings.agent ?? session.agentSocket ?? 'none'
  const held = agent === 'none' ? [] : await agentIdentities(ssh2.createAgent(agent) as Agent)
  return await new Promise((resolve, reject) => {
    const client = new ssh2.Client()
    const fail = (error: unknown): void => {
      timer.stop()
      reject(error)
      stream.destroy()
    }
    const timer = stopwatch(session.connectTimeoutMs ?? WAIT_MS, () => fail(cannotConnect(hop, LATE)))
    const put = session.ask
    const ask: Ask | undefined = put === undefined ? undefined : (question) => timer.pausedFor(put(question))
    const { identities, unlocked } = session
    const attempts = loginAttempts({ label, settings, identities, held, ask, parse: ssh2.utils.parseKey, unlocked })
    client.on('ready', () => {
      timer.stop()
      resolve(client)
    })
    client.on('error', (error: Error & { level?: string }) => {
      if (error.level === 'agent') return // one key could not sign: the next is tried
      const who = error.level === 'client-authentication' || error.message.includes('authentication failures')
      fail(who ? attempts.failure(error) : cannotConnect(hop, error.message, error))
    })
    client.on('close', () => fail(cannotConnect(hop, 'the host closed the connection')))
    client.on('change password', () => fail(attempts.failure(new Error('the password has expired'))))
    // Keeps ssh2 from letting OpenSSH prove all its host keys: 1.7 kB for an event that nobody hears.
    client.on('handshake', () => void Object.assign(client, { _remoteVer: '' }))
    client.connect({
      sock: stream,
      username: settings.user,
      algorithms: { ...ALGORITHMS, serverHostKey: hostKeyOrder(typesFor(hostKeyName(hop), lines)) },
      readyTimeout: 0,
      keepaliveInterval: settings.alive.intervalMs,
      keepaliveCountMax: settings.alive.most,
      hostVerifier: hostVerifier(hop, { session, ask, fail }),
      authHandler: (methods, _partial, next) => {
        callbackify(attempts.next)(methods, (error, attempt) => {
          if (error === null) next(method(attempt, { settings, attempts, fail }) as AnyAuthMethod)
          else fail(error)
        })
      },
    })
  })
}

type Verifier = (key: Buffer, verify: (valid: boolean) => void) => void
type Asking = { readonly session: Session; readonly ask: Ask | undefined; readonly fail: (error: unknown) => void }

function hostVerifier(hop: Hop, { session, ask, fail }: Asking): Verifier {
  const policy = {
    label: hop.label,
    acceptNew: session.acceptNew || hop.settings.acceptNew,
    file: hop.settings.userKnownHosts[0],
    confirm: async (prompt: string) => await ask?.({ kind: 'confirm', prompt }),
  }
  let trusted: Buffer | undefined
  return (key, verify) => {
    if (trusted !== undefined) return verify(trusted.equals(key)) // a later key exchange asks again
    callbackify(checkHostKey)(key, hostKeyName(hop), { lines: hop.lines, policy }, (error) => {
      trusted = error === null ? Buffer.from(key) : undefined
      if (error !== null) fail(error)
      verify(error === null)
    })
  }
}

function hostKeyName({ settings }: Hop): string {
  return settings.hostKeyAlias ?? knownHostName(settings.hostname, settings.port)
}

/** Types that are known come first: else a host's second key would look like an attack. */
function hostKeyOrder(known: readonly string[]): HostKeyAlgorithms {
  const rank = (algorithm: string): number => (known.includes(algorithm.replace(/^rsa-.*/, 'ssh-rsa')) ? 0 : 1)
  return HOST_KEYS.split(' ').toSorted((a, b) => rank(a) - rank(b)) as HostKeyAlgorithms
}

type Login = { readonly settings: SshSettings; readonly attempts: Attempts; readonly fail: (error: unknown) => void }

function method(attempt: Attempt | undefined, { settings, attempts, fail }: Login): AnyAuthMethod | false {
  const username = settings.user
  if (attempt === undefined) return false
  if (attempt.kind === 'nothing') return { type: 'none', username }
  if (attempt.kind === 'password') return { type: 'password', username, password: attempt.password }
  if (attempt.kind === 'key') return { type: 'agent', username, agent: asAgent(attempt.identity, attempts) }
  return {
    type: 'keyboard-interactive',
    username,
    prompt: (_name, _instructions, _language, prompts, finish) => {
      callbackify(attempt.answer)(prompts, (error, answers) => (error === null ? finish(answers) : fail(error)))
    },
  }
}

/** ssh2 lets an agent sign only what the host has accepted; so each key is shown to it as an agent of one key. */
function asAgent(identity: Identity, attempts: Attempts): BaseAgent {
  const sign = async (data: Buffer, hash: string | undefined): Promise<Buffer> => {
    try {
      if (hash === 'sha1') throw new Error('the host takes RSA keys only with SHA-1')
      return await identity.sign(data, hash)
    } catch (error) {
      attempts.failed(error)
      throw error
    }
  }
  return Object.assign(Object.create(ssh2.BaseAgent.prototype) as BaseAgent, {
    getIdentities: (done: (error: null, keys: ParsedKey[]) => void) => done(null, [identity.key as ParsedKey]),
    sign: (_key: unknown, data: Buffer, options: SigningRequestOptions, done: SignCallback) =>
      callbackify(sign)(data, options.hash, done),
  })
}

function transport(label: string, clients: readonly Client[], socket: Socket): Transport {
  const loss = new AbortController()
  setMaxListeners(0, loss.signal) // every stream of every channel listens
  const client = clients.at(-1)
  let cause: unknown
  const lost = (): void => {
    const hint = 'run the same command again'
    loss.abort(new VarveError('E_LOST', `cannot go on with "${label}": the connection is lost`, { hint, cause }))
  }
  for (const one of clients) one.on('error', (error) => (cause ??= error)).on('close', lost)
  if (socket.destroyed) lost()
  // Listened to at once: a command that fails at its start has its status in the packet that says it was started.
  const exec = async (command: string): Promise<Channel> =>
    await new Promise((resolve, reject) => {
      client?.exec(command, (error, stream) =>
        error === undefined ? resolve(channelOver(stream, loss.signal)) : reject(error),
      )
    })
  return {
    exec: async (command) => {
      try {
        loss.signal.throwIfAborted()
        return await exec(command)
      } catch (error) {
        loss.signal.throwIfAborted()
        const why = escapeControls(messageOf(error))
        throw new VarveError('E_CONNECT', `cannot run a command on "${label}": ${why}`, {
          hint: 'run the same command again',
          cause: error,
        })
      }
    },
    traffic: () => ({ sent: socket.bytesWritten, received: socket.bytesRead }),
    [Symbol.asyncDispose]: async () => {
      for (const one of clients.toReversed()) one.end()
      // that the host closes its end as well would cost a round trip
      await finished(socket, { readable: false, signal: AbortSignal.timeout(GOODBYE_MS) }).catch(() => {})
      socket.unref()
    },
  }
}

function cannotConnect(hop: Hop, why: string, cause?: unknown): VarveError {
  const { hostname, port, user } = hop.settings
  const hint = escapeControls(`ssh -v -p ${port} ${user}@${hostname} true`)
  const code = why === LATE ? 'E_TIMEOUT' : 'E_CONNECT'
  return new VarveError(code, `cannot connect to "${hop.label}": ${escapeControls(why)}`, { hint, cause })
}

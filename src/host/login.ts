// Who we are to a host: the keys, then the answers of a person, offered one after the other until one is accepted.
import { readFile, stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { VarveError, hasCode, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { fingerprint } from './known-hosts.ts'
import type { SshSettings } from './ssh-config.ts'

/** `prompt` is safe at a terminal. */
export type Question = { readonly kind: 'password' | 'passphrase' | 'confirm'; readonly prompt: string }
/** Resolves undefined where there is no terminal. */
export type Ask = (question: Question) => Promise<string | undefined>

/** A key as ssh2 parses it: a public one has no use for `sign`. */
export type Key = { getPublicSSH(): Buffer; sign(data: Buffer, hash?: string): Buffer | Error }

/** A key that may let us in. `sign` asks for a passphrase where it must. Throws E_KEY. */
export type Identity = {
  readonly label: string
  readonly key: Key
  readonly sign: (data: Buffer, hash?: string) => Promise<Buffer>
}

/** An agent as ssh2 speaks to it. */
export type Agent = {
  getIdentities(done: (error: unknown, keys?: readonly Key[]) => void): void
  sign(key: Key, data: Buffer, options: object, done: (error?: Error | null, signature?: Buffer) => void): void
}

export type LoginOptions = {
  readonly label: string
  readonly settings: SshSettings
  /** Key files named by the user; tried first. */
  readonly identities: readonly string[]
  /** The keys that the user's agent holds. */
  readonly held: readonly Identity[]
  readonly ask: Ask | undefined
  readonly parse: (text: Buffer, passphrase?: string) => Key | Error
  /** What a passphrase has opened, by path: one question a key, however many hosts are on the way. */
  readonly unlocked: Map<string, Key>
}

export type Attempt =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'key'; readonly identity: Identity }
  | { readonly kind: 'password'; readonly password: string }
  | { readonly kind: 'answers'; readonly answer: (prompts: readonly { prompt: string }[]) => Promise<string[]> }

export type Attempts = {
  /** The next thing to offer, of the methods that the host still takes (null before it was asked); undefined at the end. */
  readonly next: (methods: readonly string[] | null) => Promise<Attempt | undefined>
  /** A key could not sign; the next is tried. */
  readonly failed: (error: unknown) => void
  /** E_AUTH with all that was tried, or E_KEY where a key could not be used at all. */
  readonly failure: (cause: unknown) => VarveError
}

export function loginAttempts(options: LoginOptions): Attempts {
  const { label, settings, ask } = options
  const tried: string[] = []
  const problems: VarveError[] = []
  let identities: Identity[] | undefined
  let asked = false
  // A second round of prompts is never answered: it would send the same password to whatever asks for it.
  const answer = async (prompts: readonly { prompt: string }[]): Promise<string[]> => {
    const answers: string[] = []
    for (const { prompt } of asked ? [] : prompts)
      answers.push((await ask?.({ kind: 'password', prompt: `(${label}) ${escapeControls(prompt)}` })) ?? '')
    asked ||= prompts.length > 0
    return answers
  }
  return {
    next: async (methods) => {
      identities ??= await identitiesOf(options, problems)
      const identity = methods === null || methods.includes('publickey') ? identities.shift() : undefined
      if (identity !== undefined) tried.push(identity.label)
      if (identity !== undefined) return { kind: 'key', identity }
      if (methods === null) return { kind: 'nothing' }
      if (asked || ask === undefined || tried.includes('an answer')) return undefined
      if (methods.includes('password')) {
        asked = true
        const password = await ask({ kind: 'password', prompt: `Password for ${settings.user} at ${label}: ` })
        if (password === undefined) return undefined
        tried.push('a password')
        return { kind: 'password', password }
      }
      if (!methods.includes('keyboard-interactive')) return undefined
      tried.push('an answer')
      return { kind: 'answers', answer }
    },
    failed: (error) => {
      if (hasCode(error, 'E_KEY')) problems.push(error)
    },
    failure: (cause) => {
      const what = tried.length === 0 ? 'there is no key to offer' : `the host did not accept ${tried.join(', ')}`
      const hint = `ssh-copy-id -p ${settings.port} ${settings.user}@${settings.hostname}`
      const refused = `cannot log in to "${label}" as "${settings.user}": ${what}`
      return problems[0] ?? new VarveError('E_AUTH', escapeControls(refused), { hint: escapeControls(hint), cause })
    },
  }
}

/** None where the agent does not answer: there may be other keys. */
export async function agentIdentities(agent: Agent): Promise<Identity[]> {
  const keys = await new Promise<readonly Key[]>((resolve) => {
    agent.getIdentities((_error, found) => resolve(found ?? []))
  })
  return keys.map((key) => ({
    label: `the agent's key ${fingerprint(key.getPublicSSH())}`,
    key,
    sign: (data, hash) =>
      new Promise((resolve, reject) => {
        agent.sign(key, data, { hash }, (error, signature) => {
          if (signature === undefined) reject(error ?? new Error('the agent did not sign'))
          else resolve(signature)
        })
      }),
  }))
}

/** In the order to try them: those named by the user, then the agent's (the configured ones first), then files. */
async function identitiesOf(options: LoginOptions, problems: VarveError[]): Promise<Identity[]> {
  const { settings, held } = options
  const found: (Identity & { rank: number })[] = []
  for (const path of new Set([...options.identities, ...settings.identityFiles])) {
    const named = options.identities.includes(path)
    try {
      const file = await readKeyFile(path)
      if (file === undefined && named) throw cannotUse(path, 'there is no such file', `ls -l ${path}`)
      if (file === undefined) continue
      const key = publicKeyOf(file, options)
      const twin = held.find((one) => one.key.getPublicSSH().equals(key.getPublicSSH()))
      if (twin !== undefined) found.push({ ...twin, rank: named ? 0 : 1 })
      else if (file.secret) found.push({ ...fileIdentity(file, key, options), rank: named ? 0 : 3 })
    } catch (error) {
      if (!hasCode(error, 'E_KEY')) throw error
      problems.push(error)
    }
  }
  const others = settings.identitiesOnly ? [] : held.filter((one) => !found.some((other) => other.key === one.key))
  return [...found, ...others.map((one) => ({ ...one, rank: 2 }))].toSorted((a, b) => a.rank - b.rank)
}

function publicKeyOf(file: KeyFile, options: LoginOptions): Key {
  const key = options.parse(file.publicHalf ?? file.text)
  if (!(key instanceof Error)) return key
  if (!/no passphrase/.test(key.message)) throw unsupported(file, key)
  const hint = `ssh-keygen -y -f ${file.path} > ${file.path}.pub`
  throw cannotUse(file.path, 'it is encrypted and its public half is missing', hint)
}

function fileIdentity(file: KeyFile, key: Key, options: LoginOptions): Identity {
  const sign = async (data: Buffer, hash?: string): Promise<Buffer> => {
    const opened = options.unlocked.get(file.path) ?? (await unlock(file, options))
    options.unlocked.set(file.path, opened)
    const signature = opened.sign(data, hash)
    if (signature instanceof Error) throw unsupported(file, signature)
    return signature
  }
  return { label: `the key ${file.path}`, key, sign }
}

async function unlock(file: KeyFile, options: LoginOptions): Promise<Key> {
  const plain = options.parse(file.text)
  if (!(plain instanceof Error)) return plain
  if (!/no passphrase/.test(plain.message)) throw unsupported(file, plain)
  const prompt = `Passphrase for ${escapeControls(file.path)}: `
  const passphrase = await options.ask?.({ kind: 'passphrase', prompt })
  const why = 'it is encrypted and there is no terminal to ask for its passphrase'
  if (passphrase === undefined) throw cannotUse(file.path, why, `ssh-add ${file.path}`)
  const key = options.parse(file.text, passphrase)
  if (key instanceof Error) throw cannotUse(file.path, 'the passphrase is wrong', `ssh-add ${file.path}`)
  return key
}

/** A private key's file, or (`secret` is false) a public key whose private half an agent may hold. */
type KeyFile = {
  readonly path: string
  readonly text: Buffer
  readonly publicHalf?: Buffer
  readonly secret: boolean
}

/** Undefined where neither the file nor `<file>.pub` exists. Throws E_KEY. */
async function readKeyFile(path: string): Promise<KeyFile | undefined> {
  const beside = await readFile(`${path}.pub`).catch(() => undefined)
  let text: Buffer
  try {
    text = await readFile(path)
    const { mode, uid } = await stat(path)
    const exposed = (mode & 0o077) !== 0 && uid === userInfo().uid
    if (exposed && text.includes('PRIVATE KEY')) throw cannotUse(path, 'others may read it', `chmod 600 ${path}`)
  } catch (error) {
    if (error instanceof VarveError) throw error
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw cannotUse(path, messageOf(error), `ls -l ${path}`)
    return beside === undefined ? undefined : { path, text: beside, secret: false }
  }
  if (text.includes('PuTTY-User-Key-File'))
    throw cannotUse(path, 'it is a PuTTY key', `puttygen ${path} -O private-openssh -o ${path}.openssh`)
  const publicHalf = openSshPublicHalf(text.toString('latin1')) ?? beside
  return { path, text, ...(publicHalf === undefined ? {} : { publicHalf }), secret: text.includes('PRIVATE KEY') }
}

function cannotUse(path: string, why: string, hint: string): VarveError {
  return new VarveError('E_KEY', `cannot use the key "${escapeControls(path)}": ${escapeControls(why)}`, {
    hint: escapeControls(hint),
  })
}

/** The part of an OpenSSH key file that no passphrase guards. See PROTOCOL.key of OpenSSH. */
function openSshPublicHalf(text: string): Buffer | undefined {
  const body = /^-----BEGIN OPENSSH PRIVATE KEY-----\s([^-]*)-----END/.exec(text)?.[1]
  if (body === undefined) return undefined
  const data = Buffer.from(body, 'base64')
  const field = (at: number): number => at + 4 + (at + 4 <= data.length ? data.readUInt32BE(at) : 0)
  const start = field(field(field(15))) + 4 // after the magic: cipher, key derivation, its options; then a count
  return data.subarray(start + 4, field(start))
}

function unsupported(file: KeyFile, error: Error): VarveError {
  return cannotUse(file.path, `its format is not supported (${messageOf(error)})`, `ssh-add ${file.path}`)
}

/** A deadline that stands still while a person thinks. */
export function stopwatch(ms: number, expire: () => void) {
  let timer: NodeJS.Timeout | undefined = setTimeout(expire, ms)
  let stopped = false
  return {
    stop: (): void => {
      stopped = true
      clearTimeout(timer)
    },
    pausedFor: async <Answer>(answer: Promise<Answer>): Promise<Answer> => {
      clearTimeout(timer)
      try {
        return await answer
      } finally {
        if (!stopped) timer = setTimeout(expire, ms)
      }
    },
  }
}

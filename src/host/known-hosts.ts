// What the user's known_hosts files say about a host's key, and the one question that may add a line to them.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { appendFile, mkdir, open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

/** One usable line of a known_hosts file. `key` is the public key as it goes over the wire. */
export type KnownHost = {
  readonly marker: 'none' | 'revoked' | 'cert-authority'
  readonly patterns: string
  readonly type: string
  readonly key: Buffer
  readonly file: string
  readonly line: number
}

export type Place = { readonly file: string; readonly line: number }

/** `authority` is a @cert-authority line for the host: it would have decided, but certificates are not supported. */
export type Decision =
  | { readonly kind: 'known' }
  | { readonly kind: 'unknown'; readonly authority?: Place }
  | ({ readonly kind: 'changed' } & Place)
  | ({ readonly kind: 'revoked' } & Place)

export type HostKeyPolicy = {
  /** The host as the user wrote it, for messages. */
  readonly label: string
  readonly acceptNew: boolean
  /** Where an accepted key is written; undefined where the user keeps no known_hosts file. */
  readonly file: string | undefined
  /** Resolves undefined where there is no terminal. */
  readonly confirm: (prompt: string) => Promise<string | undefined>
}

/** The name that known_hosts files hold a host under: `host`, or `[host]:port` for any port but 22. */
export function knownHostName(host: string, port: number): string {
  return port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`
}

/** Reads all files; one that is missing holds nothing. Throws E_KNOWN_HOSTS. */
export async function readKnownHosts(files: readonly string[]): Promise<KnownHost[]> {
  const found: KnownHost[] = []
  for (const file of files) {
    try {
      found.push(...parseKnownHosts(await readFile(file, 'latin1'), file))
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT' || code === 'ENOTDIR') continue
      throw new VarveError('E_KNOWN_HOSTS', `cannot read "${escapeControls(file)}": ${reason(error)}`, {
        hint: `ls -ld ${shown(file)}`,
        cause: error,
      })
    }
  }
  return found
}

/** Lines that do not parse are left out, as OpenSSH leaves them out. See sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. */
export function parseKnownHosts(text: string, file: string): KnownHost[] {
  return text.split('\n').flatMap((content, index) => {
    const words = content.trim().split(/[ \t]+/)
    const marker = words[0]?.startsWith('@') === true ? words.shift()?.slice(1) : 'none'
    const [patterns = '', type = '', encoded = ''] = words
    if (marker !== 'none' && marker !== 'revoked' && marker !== 'cert-authority') return []
    if (patterns.startsWith('#') || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return []
    const key = Buffer.from(encoded, 'base64')
    return keyType(key) === type ? [{ marker, patterns, type, key, file, line: index + 1 }] : []
  })
}

/** The lines that speak of a host, whatever their marker. */
export function linesFor(name: string, lines: readonly KnownHost[]): KnownHost[] {
  return lines.filter((line) => matches(line.patterns, name.toLowerCase()))
}

/** The types of key that a host of this name is known by. */
export function typesFor(name: string, lines: readonly KnownHost[]): string[] {
  const own = linesFor(name, lines).filter((line) => line.marker === 'none')
  return (own.length > 0 ? own : linesFor(withoutPort(name), lines)).map((line) => line.type)
}

/** What the files say about `key` for the host of this name. A key of a type not seen before counts as changed. */
export function decideHostKey(lines: readonly KnownHost[], name: string, key: Buffer): Decision {
  const own = linesFor(name, lines)
  // As with OpenSSH, a key that is known for port 22 will do for another port of which nothing is known.
  const near = linesFor(withoutPort(name), lines)
  const others = own.filter((line) => line.marker === 'none')
  const same = [...own, ...(others.length > 0 ? [] : near)].filter((line) => line.key.equals(key))
  const revoked = same.find((line) => line.marker === 'revoked')
  if (revoked !== undefined) return { kind: 'revoked', file: revoked.file, line: revoked.line }
  if (same.some((line) => line.marker === 'none')) return { kind: 'known' }
  const other = others.find((line) => line.type === keyType(key)) ?? others[0]
  if (other !== undefined) return { kind: 'changed', file: other.file, line: other.line }
  const authority = own.find((line) => line.marker === 'cert-authority')
  if (authority === undefined) return { kind: 'unknown' }
  return { kind: 'unknown', authority: { file: authority.file, line: authority.line } }
}

/**
 * Returns when `key` may be trusted for the host of this name; a key new and accepted is written down first.
 * Throws E_HOSTKEY_UNKNOWN, E_HOSTKEY_CHANGED, E_HOSTKEY_REVOKED, E_KNOWN_HOSTS.
 */
export async function checkHostKey(
  key: Buffer,
  name: string,
  { lines, policy }: { readonly lines: readonly KnownHost[]; readonly policy: HostKeyPolicy },
): Promise<void> {
  const decision = decideHostKey(lines, name, key)
  const print = fingerprint(key)
  const action = `cannot trust "${policy.label}"`
  if (decision.kind === 'known') return
  if (decision.kind === 'revoked')
    throw new VarveError('E_HOSTKEY_REVOKED', `${action}: its key ${print} is revoked by ${placed(decision)}`, {
      hint: `ask who looks after the host for its new key; do not connect to it before`,
    })
  if (decision.kind === 'changed')
    throw new VarveError(
      'E_HOSTKEY_CHANGED',
      `${action}: its key ${print} is not the one in ${placed(decision)}; somebody may be listening in between`,
      { hint: `only if you know why the key has changed: ssh-keygen -R '${shown(name)}' -f ${shown(decision.file)}` },
    )
  if (!policy.acceptNew) await askUser({ name, print, action, policy, authority: decision.authority })
  await remember(name, key, policy.file)
}

/** As OpenSSH shows a key: its type and the SHA-256 of its wire form. */
export function fingerprint(key: Buffer): string {
  const digest = createHash('sha256').update(key).digest('base64').replace(/=+$/, '')
  return `${escapeControls(keyType(key) ?? 'of an unknown type')} SHA256:${digest}`
}

async function askUser(question: {
  name: string
  print: string
  action: string
  policy: HostKeyPolicy
  authority: Place | undefined
}): Promise<void> {
  const { name, print, action, policy, authority } = question
  const answer = await policy.confirm(
    `The key of "${escapeControls(name)}" is not known: ${print}. Type "yes" to trust it from now on: `,
  )
  if (answer?.trim().toLowerCase() === 'yes') return
  const why =
    answer !== undefined
      ? 'was not accepted'
      : authority === undefined
        ? 'is in no known_hosts file'
        : `is in no known_hosts file, and the @cert-authority in ${placed(authority)} is not supported`
  throw new VarveError('E_HOSTKEY_UNKNOWN', `${action}: its key ${print} ${why}`, {
    hint: 'compare the key with what "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" prints there, then run again with --accept-new',
  })
}

async function remember(name: string, key: Buffer, file: string | undefined): Promise<void> {
  if (file === undefined) return
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const line = `${name} ${keyType(key) ?? ''} ${key.toString('base64')}\n`
    await appendFile(file, (await endsOpen(file)) ? `\n${line}` : line, { mode: 0o600 })
  } catch (error) {
    throw new VarveError('E_KNOWN_HOSTS', `cannot write "${escapeControls(file)}": ${reason(error)}`, {
      hint: `ls -ld ${shown(file)}`,
      cause: error,
    })
  }
}

/** Whether the file's last line lacks its newline. */
async function endsOpen(file: string): Promise<boolean> {
  const handle = await open(file, 'a+', 0o600)
  try {
    const { size } = await handle.stat()
    if (size === 0) return false
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1)
    return buffer[0] !== 0x0a
  } finally {
    await handle.close()
  }
}

function withoutPort(name: string): string {
  return name.replace(/^\[(.*)\]:[0-9]+$/, '$1')
}

function matches(patterns: string, name: string): boolean {
  if (patterns.startsWith('|')) return matchesHash(patterns, name)
  let matched = false
  for (const pattern of patterns.split(',')) {
    const negated = pattern.startsWith('!')
    if (!glob(negated ? pattern.slice(1) : pattern, name)) continue
    if (negated) return false
    matched = true
  }
  return matched
}

function matchesHash(patterns: string, name: string): boolean {
  const [, version, salt = '', hash = ''] = patterns.split('|')
  const expected = Buffer.from(hash, 'base64')
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest()
  return version === '1' && expected.length === actual.length && timingSafeEqual(expected, actual)
}

/** `*` and `?` in linear space and without a regular expression: the pattern may be hostile. */
function glob(pattern: string, name: string): boolean {
  const wanted = pattern.toLowerCase()
  let [at, from, star, retry] = [0, 0, -1, 0]
  while (from < name.length) {
    if (wanted[at] === '*') {
      star = at++
      retry = from
    } else if (at < wanted.length && (wanted[at] === '?' || wanted[at] === name[from])) {
      at++
      from++
    } else if (star >= 0) {
      at = star + 1
      from = ++retry
    } else return false
  }
  while (wanted[at] === '*') at++
  return at === wanted.length
}

/** The type that a public key's wire form begins with. */
export function keyType(key: Buffer): string | undefined {
  if (key.length < 4) return undefined
  const length = key.readUInt32BE(0)
  return length > 64 || key.length < 4 + length ? undefined : key.toString('latin1', 4, 4 + length)
}

function placed(place: Place): string {
  return `${escapeControls(place.file)}:${place.line}`
}

function shown(word: string): string {
  return escapeControls(word)
}

function reason(error: unknown): string {
  return escapeControls((error as NodeJS.ErrnoException).code ?? messageOf(error))
}

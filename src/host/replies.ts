// Reads a host's answers by a strict grammar: a foreign machine's word becomes nothing but records, ids and numbers.
import type { Readable } from 'node:stream'
import { VarveError, isErrorCode } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

/** One record: the words of a line. */
export type Words = readonly string[]

export type Reply = { readonly records: readonly Words[]; readonly payload: Buffer | undefined }

const LONGEST_LINE = 8192
const MOST_RECORDS = 1_000_000
const LARGEST_PAYLOAD = 1 << 28
const MOST_NOISE = 1 << 16

export class ReplyReader {
  private buffer: Buffer = Buffer.alloc(0)
  private readonly chunks: AsyncIterator<Buffer>

  constructor(stdout: Readable) {
    this.chunks = stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  /** Skips banners up to the line that begins with the mark; the words after it. Throws E_SHELL where it never comes. */
  async mark(mark: string): Promise<Words> {
    let noise = ''
    for (;;) {
      const end = this.buffer.indexOf(10)
      if (end === -1 || end > MOST_NOISE) {
        if (this.buffer.length > MOST_NOISE) throw noMark(noise + this.buffer.toString('latin1'))
        if (!(await this.more())) throw noMark(noise + this.buffer.toString('latin1'))
        continue
      }
      const line = this.buffer.toString('latin1', 0, end)
      this.buffer = this.buffer.subarray(end + 1)
      if (line.includes(`${mark} `))
        return line
          .slice(line.indexOf(`${mark} `) + mark.length + 1)
          .trim()
          .split(' ')
      noise += `${line}\n`
      if (noise.length > MOST_NOISE) throw noMark(noise)
    }
  }

  /** One answer. Throws the host's own error, or E_PROTO, or E_LOST where it ends too early. */
  async reply(): Promise<Reply> {
    const records: Words[] = []
    let payload: Buffer | undefined
    for (;;) {
      const line = await this.line()
      if (line === 'ok') return { records, payload }
      const words = line.split(' ')
      if (words[0] === 'die') throw told(words)
      if (words[0] === 'payload') payload = await this.bytes(number(words[1]))
      else records.push(words)
      if (records.length > MOST_RECORDS) throw misread('it has too many records')
    }
  }

  /** What comes after the answers: bytes as they are. */
  async *rest(): AsyncGenerator<Buffer> {
    if (this.buffer.length > 0) yield this.buffer
    this.buffer = Buffer.alloc(0)
    for (let next = await this.chunks.next(); next.done !== true; next = await this.chunks.next()) yield next.value
  }

  private async line(): Promise<string> {
    for (;;) {
      const end = this.buffer.indexOf(10)
      if (end === -1 ? this.buffer.length > LONGEST_LINE : end > LONGEST_LINE) throw misread('a line is too long')
      if (end !== -1) {
        const line = this.buffer.toString('latin1', 0, end)
        this.buffer = this.buffer.subarray(end + 1)
        if (!/^[ -~\x80-\xff]*$/.test(line) || !/^(?:die |[ -~]*$)/.test(line))
          throw misread(`"${escapeControls(line.slice(0, 200), 0x7e)}" is no record`)
        return line
      }
      if (!(await this.more()))
        throw new VarveError('E_LOST', 'lost the connection: the host stopped answering', {
          hint: 'run the same command again',
        })
    }
  }

  private async bytes(length: number): Promise<Buffer> {
    if (length > LARGEST_PAYLOAD) throw misread('its payload is too large')
    const parts: Buffer[] = []
    let have = 0
    while (have < length) {
      if (this.buffer.length === 0 && !(await this.more()))
        throw new VarveError('E_LOST', 'lost the connection: the host stopped in the middle of an answer', {
          hint: 'run the same command again',
        })
      const part = this.buffer.subarray(0, length - have)
      this.buffer = this.buffer.subarray(part.length)
      parts.push(part)
      have += part.length
    }
    return Buffer.concat(parts)
  }

  private async more(): Promise<boolean> {
    const { done, value } = await this.chunks.next()
    if (done === true) return false
    this.buffer = this.buffer.length === 0 ? value : Buffer.concat([this.buffer, value])
    return true
  }
}

/** A text of any bytes as one word of a request: "=" and octal escapes, which the runtime's word_of undoes. */
export function wordOf(text: string): string {
  const bytes = [...Buffer.from(text)]
  const plain = (byte: number): boolean => /[A-Za-z0-9_.,:/@-]/.test(String.fromCodePoint(byte))
  return `=${bytes.map((byte) => (plain(byte) ? String.fromCodePoint(byte) : `\\0${byte.toString(8).padStart(3, '0')}`)).join('')}`
}

export function number(text: string | undefined): number {
  if (text === undefined || !/^[0-9]{1,15}$/.test(text))
    throw misread(`"${escapeControls(String(text), 0x7e)}" is no number`)
  return Number(text)
}

export function treeIdOf(text: string | undefined): string {
  if (text === undefined || !/^[0-9a-f]{64}$/.test(text))
    throw misread(`"${escapeControls(String(text), 0x7e)}" is no id`)
  return text
}

export function misread(why: string): VarveError {
  return new VarveError('E_PROTO', `cannot read the host's answer: ${why}`)
}

function told(words: Words): VarveError {
  const code = words[1] ?? ''
  const message = escapeControls(words.slice(2).join(' '), 0x7e)
  return isErrorCode(code)
    ? new VarveError(code, message, hintFor(code))
    : misread(`it failed with "${escapeControls(code, 0x7e)}"`)
}

function hintFor(code: string): { hint?: string } {
  switch (code) {
    case 'E_NOSPACE':
      return { hint: 'varve gc HOST frees what no generation needs' }
    case 'E_STORE':
      return { hint: 'name another with --store DIR' }
    case 'E_CONFLICT':
      return { hint: 'somebody else has pushed: look at varve status, then push again' }
    case 'E_LOCKED':
      return { hint: 'wait for the other varve to end, then run again' }
    case 'E_NO_CONTAINER':
      return { hint: 'varve status HOST lists the containers' }
    case 'E_GEN':
      return { hint: 'varve status HOST:NAME lists the generations' }
    case 'E_BUSY_MOUNT':
      return { hint: 'stop the container first: varve stop HOST:NAME, or as it was started' }
    case 'E_RUNNING':
      return { hint: 'varve status HOST:NAME says what runs; varve restart HOST:NAME starts what is current' }
    case 'E_NOT_RUNNING':
      return { hint: 'varve start HOST:NAME' }
    case 'E_NO_ENGINE':
      return { hint: 'install one on the host (apt-get install runc), or name another with --engine' }
    case 'E_PORT':
      return { hint: 'stop what listens there, or let the container listen on another port' }
    case 'E_PERSIST':
      return { hint: 'varve push SOURCE HOST:NAME --persist PATH mounts it; --unpersist PATH gives it up' }
    default:
      return {}
  }
}

function noMark(noise: string): VarveError {
  const said = escapeControls(noise.slice(0, 200), 0x7e)
  return new VarveError(
    'E_SHELL',
    `cannot run a shell on the host: it answered ${noise === '' ? 'nothing' : `"${said}"`}`,
    {
      hint: 'the login shell must run commands: see chsh, and ForceCommand in sshd_config',
    },
  )
}

// Becoming root on a host: sudo's prompt is answered once, and what sudo and doas refuse is told in their own words.
import { VarveError, messageOf } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { stopwatch } from './login.ts'
import type { ReplyReader } from './replies.ts'
import type { Channel } from './transport.ts'

const START_TIMEOUT_MS = 60_000

export type Start = {
  readonly reader: ReplyReader
  /** Sudo's prompt, of random digits, so that nothing else is taken for it. */
  readonly prompt: string
  readonly mark: string
  /** Undefined where there is no terminal to ask at. */
  readonly askPassword: (() => Promise<string | undefined>) | undefined
}

/** Whether the host has the runtime. Throws E_SHELL, E_ROOT, E_SUDO_*, E_PROTO, E_LOST. */
export async function becomeRoot(channel: Channel, start: Start): Promise<'have' | 'need'> {
  const said = new SudoTalk(channel, start)
  try {
    const words = await Promise.race([
      said.failed,
      start.reader.mark(start.mark).catch((error: unknown) => said.explain(error)),
    ])
    if (words[0] === 'noroot')
      throw new VarveError('E_ROOT', 'cannot become root on the host: neither sudo nor doas is there', {
        hint: 'log in as root, or install sudo',
      })
    if (words[0] !== 'have' && words[0] !== 'need')
      throw new VarveError('E_PROTO', "cannot read the host's answer: the runtime did not start")
    return words[0]
  } catch (error) {
    channel.close()
    throw error
  } finally {
    said.stop()
  }
}

/** Listens to sudo on standard error: answers its prompt once, and knows its refusals. */
class SudoTalk {
  readonly failed: Promise<never>
  fail: (error: Error) => void = () => {}
  private text = ''
  private asked = false
  private readonly channel: Channel
  private readonly prompt: string
  private readonly onData: (chunk: Buffer) => void
  private readonly silence = stopwatch(START_TIMEOUT_MS, () => {
    const message = `cannot become root: the host said nothing for ${START_TIMEOUT_MS / 1000} s`
    this.fail(new VarveError('E_SUDO_TIMEOUT', message, { hint: 'run again, and look at the load of the host' }))
  })

  constructor(channel: Channel, { prompt, askPassword }: Start) {
    this.channel = channel
    this.prompt = prompt
    this.failed = new Promise((_, reject) => {
      this.fail = reject
    })
    this.failed.catch(() => {})
    this.onData = (chunk) => {
      this.text = (this.text + chunk.toString('latin1')).slice(-65_536)
      const prompts = this.text.split(prompt).length - 1
      if (prompts > 1) this.fail(wrongPassword())
      else if (prompts === 1 && !this.asked) {
        this.asked = true
        this.answer(askPassword).catch((error: unknown) =>
          this.fail(error instanceof Error ? error : new Error(messageOf(error))),
        )
      }
    }
    channel.stderr.on('data', this.onData)
  }

  /** The connection ended before the mark: sudo's or doas's words tell why. */
  async explain(error: unknown): Promise<never> {
    await Promise.race([this.channel.exit, new Promise((resolve) => setTimeout(resolve, 500).unref())])
    const said = this.text.replaceAll(this.prompt, '\n').trim().split('\n').at(-1) ?? ''
    if (/must have a tty|a terminal is required|requiretty/.test(this.text))
      throw new VarveError('E_SUDO_TTY', 'cannot become root: sudo on the host wants a terminal', {
        hint: 'add to sudoers: Defaults:USER !requiretty',
      })
    if (/incorrect password|no password was provided/.test(this.text)) throw wrongPassword()
    // whatever else sudo has to say, it is sudo that does not let us in
    if (/not in the sudoers|not allowed|may not run|^sudo: /m.test(this.text))
      throw new VarveError('E_SUDO_DENIED', `cannot become root: ${escapeControls(said, 0x7e)}`, {
        hint: 'add to sudoers: USER ALL=(root) NOPASSWD: ALL',
      })
    if (/^doas: /m.test(this.text))
      throw new VarveError('E_SUDO_DENIED', `cannot become root: ${escapeControls(said, 0x7e)}`, {
        hint: 'add to doas.conf: permit nopass USER',
      })
    throw error
  }

  stop(): void {
    this.silence.stop()
    this.channel.stderr.off('data', this.onData)
    this.channel.stderr.resume()
  }

  private async answer(ask: (() => Promise<string | undefined>) | undefined): Promise<void> {
    const password = ask && (await this.silence.pausedFor(ask()))
    if (password === undefined) {
      const why = ask === undefined ? 'there is no terminal to ask at' : 'none was given'
      throw new VarveError('E_SUDO_PASSWORD', `cannot become root: sudo on the host wants a password, and ${why}`, {
        hint: 'run at a terminal, or add to sudoers: USER ALL=(root) NOPASSWD: ALL',
      })
    }
    const line = Buffer.from(`${password}\n`)
    await new Promise<void>((resolve) => {
      this.channel.stdin.write(line, () => resolve())
    })
    line.fill(0)
  }
}

function wrongPassword(): VarveError {
  return new VarveError('E_SUDO_PASSWORD', 'cannot become root: sudo did not take the password', {
    hint: 'run again and type the password that sudo on the host wants',
  })
}

// Where words go: data to stdout in the format asked for, progress and warnings to stderr.
import { escapeControls } from '../model/bytes.ts'
import type { Event } from '../verbs/context.ts'
import type { CommonOptions } from './context.ts'
import { amount, stepWords } from './words.ts'

type Kind = 'bar' | 'lines' | 'off'

export class Output {
  private readonly process: NodeJS.Process
  private readonly json: boolean
  private readonly kind: Kind
  private readonly quiet: boolean
  private readonly verbose: boolean
  private shown = ''
  private lastDraw = 0
  private paused = false
  private sendStart: { at: number; sent: number } | undefined

  constructor(process: NodeJS.Process, options: CommonOptions) {
    this.process = process
    this.json = options.json === true || options.format === 'json'
    this.quiet = options.quiet === true
    this.verbose = options.verbose === true
    this.kind = kindOf(process, options)
  }

  /** The result of the verb: one JSON document, or text for a person. */
  data<Data>(data: Data, text: (data: Data) => string): void {
    this.clear()
    if (this.json) this.process.stdout.write(`${JSON.stringify({ schemaVersion: 1, data })}\n`)
    else if (!this.quiet) this.process.stdout.write(text(data))
  }

  event(event: Event): void {
    if (event.kind === 'warning') {
      if (this.quiet) return
      this.clear()
      this.process.stderr.write(`varve: warning: ${event.message} [${event.code}]\n`)
    } else if (event.kind === 'detail') {
      if (!this.verbose) return
      this.clear()
      this.process.stderr.write(`varve: ${event.message}\n`)
    } else if (event.kind === 'log') {
      this.clear()
      this.process.stderr.write(
        event.text
          .split('\n')
          .map((line) => escapeControls(line))
          .join('\n'),
      )
    } else if (event.kind === 'step') this.step(event.step)
    else if (this.kind === 'bar') this.draw(event)
  }

  /** Takes the progress line away while something else is on the terminal. */
  async pausedFor<Value>(work: () => Promise<Value>): Promise<Value> {
    this.clear()
    this.paused = true
    try {
      return await work()
    } finally {
      this.paused = false
    }
  }

  private step(step: Extract<Event, { kind: 'step' }>['step']): void {
    this.sendStart = undefined
    if (this.kind === 'off') return
    if (this.kind === 'bar') this.show(step === 'done' ? '' : `${stepWords[step]} ...`)
    else if (step !== 'done') this.process.stderr.write(`${stepWords[step]}\n`)
  }

  private draw(event: Exclude<Event, { kind: 'warning' | 'detail' | 'log' | 'step' }>): void {
    const now = performance.now()
    if (now - this.lastDraw < 100) return
    this.lastDraw = now
    if (event.kind === 'scan') return this.show(`${stepWords.scan} ${event.entries} entries, ${amount(event.bytes)}`)
    this.sendStart ??= { at: now, sent: event.sent }
    const seconds = (now - this.sendStart.at) / 1000
    const rate = seconds > 0.5 ? (event.sent - this.sendStart.sent) / seconds : 0
    const share = event.ofContents === 0 ? 1 : Math.min(1, event.contents / event.ofContents)
    const left = share > 0.02 && seconds > 0.5 ? `, ${Math.ceil((seconds / share) * (1 - share))} s left` : ''
    const bar = '='.repeat(Math.round(share * 24)).padEnd(24, ' ')
    this.show(
      `${stepWords.send} [${bar}] ${Math.round(share * 100)} %, ${amount(event.sent)} sent${rate > 0 ? `, ${amount(rate)}/s` : ''}${left}`,
    )
  }

  private show(line: string): void {
    if (this.paused) return
    const width = (this.process.stderr.columns || 80) - 1
    this.shown = line.slice(0, width)
    this.process.stderr.write(`\r\x1b[K${this.shown}`)
  }

  private clear(): void {
    if (this.shown !== '') this.process.stderr.write('\r\x1b[K')
    this.shown = ''
  }
}

function kindOf(process: NodeJS.Process, options: CommonOptions): Kind {
  if (options.quiet === true) return 'off'
  if (options.progress !== 'auto') return options.progress
  if (options.json === true || options.format === 'json') return 'off'
  return process.stderr.isTTY && process.env['CI'] === undefined ? 'bar' : 'lines'
}

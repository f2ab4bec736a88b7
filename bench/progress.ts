// Says on stderr what is being measured: one line that changes at a terminal, else a line for each.

export interface Progress {
  /** `text` is under way, the `done`th of `all`. */
  at(done: number, all: number, text: string): void
  end(): void
}

export function progressOn(stream: NodeJS.WriteStream): Progress {
  const started = performance.now()
  return {
    at(done, all, text) {
      const seconds = Math.round((performance.now() - started) / 1000)
      const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
      const line = `${clock}  ${done + 1} of ${all}  ${text}`
      stream.write(stream.isTTY ? `\r\u001b[K${line.slice(0, stream.columns - 1)}` : `${line}\n`)
    },
    end() {
      if (stream.isTTY) stream.write('\r\u001b[K')
    },
  }
}

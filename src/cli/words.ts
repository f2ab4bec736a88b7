// Amounts, times and steps as a person reads them: SI units, since links are sold in them.
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

export const stepWords = {
  scan: 'reading the source',
  connect: 'connecting',
  plan: 'planning',
  send: 'sending',
  apply: 'applying on the host',
  run: 'starting',
  done: 'done',
} as const

/** 1234567 is "1.2 MB"; one decimal from a thousand on. */
export function amount(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit] ?? 'B'}`
}

/** Columns aligned by spaces; the last is left as it is. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), [])
  return rows
    .map((row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  ')}\n`)
    .join('')
}

// Results as one table of text: a block a pair, a row a peer, bytes and seconds a link.
import { bytesOf, find, type Results } from './results.ts'

export function tableOf(results: Results): string {
  const lines: string[] = []
  for (const pair of results.pairs) {
    lines.push(
      '',
      `${pair.name}: ${pair.title}; ${millions(pair.newBytes)}, of which ${millions(pair.changedBytes)} are new`,
    )
    lines.push(
      row(
        '',
        results.links.map(({ title }) => title),
      ),
    )
    for (const peer of results.peers) {
      const failed = results.failed.find((one) => one.pair === pair.name && one.peer === peer.name)
      const cells = results.links.map(({ name }) => {
        const found = find(results, pair.name, peer.name, name)
        if (found === undefined) return failed === undefined ? '' : 'failed'
        return `${bytesOf(found).toLocaleString('en')}  ${secondsOf(found).padStart(7)}`
      })
      if (cells.some(Boolean)) lines.push(row(peer.title, cells))
    }
  }
  lines.push('', 'bytes of the whole session, both ways, and seconds; ≥ where it was not run to its end', '')
  return lines.join('\n')
}

export function secondsOf({ seconds, reckoned }: { seconds: number; reckoned: boolean }): string {
  return `${reckoned ? '≥ ' : ''}${reckoned ? Math.floor(seconds) : seconds.toFixed(seconds < 10 ? 2 : 1)}`
}

function millions(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function row(name: string, cells: readonly string[]): string {
  return `  ${name.padEnd(24)}${cells.map((cell) => cell.padStart(22)).join('')}`.trimEnd()
}

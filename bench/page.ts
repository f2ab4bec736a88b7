// Results as one HTML page that needs nothing else: plots, tables, and what was measured how.
import { dotPlot, escaped, legendOf, scatterPlot, type Point, type Row } from './plot.ts'
import { peers } from './peers.ts'
import { bytesOf, find, type Results } from './results.ts'
import type { Measured } from './redeploy.ts'
import { secondsOf } from './table.ts'

const COLORS = ['#d6202a', '#f08a5d', '#b0567f', '#1f5fbf', '#57a0e5', '#555b66', '#9aa2ad', '#12805c', '#8a6d1d', '#6c3fc5', '#0f8a9d', '#a3a300'] // prettier-ignore

const STYLE = `:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5c6670;--line:#d5dae0;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#98a2ad;--line:#3a424b;--paper:#14181c}}
body{margin:2rem auto;max-width:62rem;padding:0 1rem;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h2{margin:2.2rem 0 .4rem}p,li{max-width:46rem}svg{width:100%;height:auto}.legend svg{width:16px;flex:none}
.grid{stroke:var(--line)}.row{stroke:var(--line);stroke-dasharray:1 4}.tick{fill:var(--soft);font-size:12px}.name{fill:var(--ink);font-size:13px}
polyline{fill:none;stroke-width:1.2;opacity:.5}.open{fill:none;stroke-width:2.5}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;max-width:none}.legend li{display:flex;align-items:center;gap:.35rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}caption{text-align:left;font-weight:600;padding:.8rem 0 .2rem}
th,td{padding:.15rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}th:first-child{text-align:left;font-weight:400}thead th{color:var(--soft);font-weight:400}
.best{font-weight:700}.small{color:var(--soft);font-size:13px}
${COLORS.map((color, i) => `.s${i} *{fill:${color};stroke:${color}}polyline.s${i}{stroke:${color}}`).join('\n')}
.hollow *{fill:var(--paper)}.open,.s0 .open{fill:none}`

export function pageOf(results: Results): string {
  const { machine, links } = results
  const series = results.peers.map(({ name, title }) => ({
    name,
    title,
    mark: peers.findIndex((one) => one.name === name),
  }))
  const first = links[0]?.name ?? ''
  const versions = Object.entries(results.versions).map(([name, version]) => `${name} ${version}`)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>varve: what a redeploy costs</title>
<style>${STYLE}</style></head><body>
<h1>What a redeploy costs</h1>
<p>Each pair is a tree that a host has and the one that it is to have. Each peer brings it there through a real SSH server on a
throw-away host, or by HTTP where it knows no other way. Bytes are those of the whole session, both ways, as a proxy counts
them, which also gives the link its rate and delay.</p>
<p class="small">${escaped(`${results.date.slice(0, 10)}; ${machine.cores} cores of ${machine.processor}, Linux ${machine.kernel}, Node ${machine.node}; ${versions.join(', ')}`)}</p>
<h2>Bytes by pair and peer</h2>
${legendOf(series)}
${dotPlot(rowsOf(results, first, bytesOf), series, { title: `bytes of the session, both ways (${links[0]?.title ?? ''})`, label: size })}
<h2>Wall time by link</h2>
<p>From the new tree here to the new tree there. Hollow: not run to its end, it takes no less than that.</p>
${links
  .map(
    ({ name, title }) =>
      `<h3>${escaped(title)}</h3>\n${dotPlot(
        rowsOf(results, name, ({ seconds }) => seconds),
        series,
        { title: 'seconds', label: String },
      )}`,
  )
  .join('\n')}
<h2>Cost against size of change</h2>
<p>Contents of the new tree that the old one has nowhere; where there are none, at the left edge.</p>
${legendOf(series)}
${scatterPlot(pointsOf(results, first), series, [
  { title: 'bytes of new contents', label: size },
  { title: 'bytes of the session', label: size },
])}
<h2>Numbers</h2>
${results.pairs.map((pair) => tableOf(results, pair)).join('\n')}
<h2>Peers</h2>
<ul>${results.peers.map(({ title, note }) => `<li><b>${escaped(title)}</b>: ${escaped(note)}</li>`).join('\n')}</ul>
<h2>Pairs</h2>
<ul>${results.pairs.map(({ title, about }) => `<li><b>${escaped(title)}</b>: ${escaped(about.join('; '))}</li>`).join('\n')}</ul>
${results.failed.length === 0 ? '' : `<h2>Failed</h2>\n<ul>${results.failed.map(({ pair, peer, error }) => `<li>${escaped(`${pair}, ${peer}: ${error}`)}</li>`).join('\n')}</ul>`}
</body></html>
`
}

function rowsOf(results: Results, link: string, valueOf: (one: Measured) => number): Row[] {
  return results.pairs.map(({ name, title }) => ({
    title,
    dots: results.peers.flatMap((peer) => {
      const found = find(results, name, peer.name, link)
      if (found === undefined) return []
      const label = `${peer.title}: ${bytesOf(found).toLocaleString('en')} bytes, ${secondsOf(found)} s`
      return [{ series: peer.name, value: valueOf(found), label, hollow: found.reckoned }]
    }),
  }))
}

function pointsOf(results: Results, link: string): Point[] {
  return rowsOf(results, link, bytesOf).flatMap(({ title, dots }, i) =>
    dots.map((dot) => ({ ...dot, x: results.pairs[i]?.changedBytes ?? 0, label: `${title}, ${dot.label}` })),
  )
}

function tableOf(results: Results, pair: Results['pairs'][number]): string {
  const { links, peers } = results
  const best = links.map(({ name }) => {
    const all = peers.flatMap((peer) => find(results, pair.name, peer.name, name) ?? [])
    return { bytes: Math.min(...all.map(bytesOf)), seconds: Math.min(...all.map(({ seconds }) => seconds)) }
  })
  const cell = (text: string, isBest: boolean): string => `<td${isBest ? ' class="best"' : ''}>${escaped(text)}</td>`
  const rows = peers.map((peer) => {
    const cells = links.map(({ name }, i) => {
      const found = find(results, pair.name, peer.name, name)
      if (found === undefined) return '<td></td><td></td>'
      const bytes = bytesOf(found)
      return cell(bytes.toLocaleString('en'), bytes === best[i]?.bytes) + cell(`${secondsOf(found)} s`, found.seconds === best[i]?.seconds) // prettier-ignore
    })
    return `<tr><th>${escaped(peer.title)}</th>${cells.join('')}</tr>`
  })
  const heads = links.map(({ title }) => `<th colspan="2">${escaped(title)}</th>`)
  return `<div class="scroll"><table><caption>${escaped(pair.title)}</caption><thead><tr><th></th>${heads.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`
}

/** 1 kB, 10 MB: decades of bytes. */
function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB']
  const unit = Math.min(3, Math.floor(Math.log10(Math.max(1, bytes)) / 3 + 1e-9))
  return `${bytes / 1000 ** unit} ${units[unit]}`
}

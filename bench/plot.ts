// Plots as SVG text: dots on a logarithmic scale, a row each, and points over two logarithmic scales.

export interface Series {
  readonly name: string
  readonly title: string
  /** Which colour and shape it has. */
  readonly mark: number
}

export interface Dot {
  readonly series: string
  readonly value: number
  readonly label: string
  /** Not measured to its end. */
  readonly hollow?: boolean
}

export interface Row {
  readonly title: string
  readonly dots: readonly Dot[]
}

export interface Point extends Dot {
  readonly x: number
}

export type Scale = { readonly title: string; readonly label: (value: number) => string }

const WIDTH = 940
const LEFT = 330
const RIGHT = 36
const LINE = 30
const MARKS = ['circle', 'square', 'diamond', 'triangle', 'cross', 'bar'] as const

/** A row a thing, a dot a series. */
export function dotPlot(rows: readonly Row[], series: readonly Series[], scale: Scale): string {
  const height = rows.length * LINE + 46
  const axis = axisOf(
    rows.flatMap(({ dots }) => dots.map(({ value }) => value)),
    [LEFT, WIDTH - RIGHT],
  )
  const grid = axis.ticks.map(
    (tick) =>
      `<line class="grid" x1="${at(axis, tick)}" x2="${at(axis, tick)}" y1="6" y2="${height - 40}"/>` +
      `<text class="tick" x="${at(axis, tick)}" y="${height - 24}" text-anchor="middle">${escaped(scale.label(tick))}</text>`,
  )
  const body = rows.map(({ title, dots }, i) => {
    const y = i * LINE + LINE / 2 + 6
    const marks = dots.toReversed().map((dot) => markOf(dot, series, at(axis, dot.value), y))
    return (
      `<line class="row" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>` +
      `<text class="name" x="${LEFT - 12}" y="${y + 4}" text-anchor="end">${escaped(title)}</text>${marks.join('')}`
    )
  })
  const title = `<text class="tick" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${height - 6}" text-anchor="middle">${escaped(scale.title)}</text>`
  return svg(height, [...grid, ...body, title])
}

/** A point a pair and series, those of a series joined in the order of x. */
export function scatterPlot(
  points: readonly Point[],
  series: readonly Series[],
  [x, y]: readonly [Scale, Scale],
): string {
  const height = 460
  const across = axisOf(points.map((point) => point.x), [80, WIDTH - RIGHT]) // prettier-ignore
  const up = axisOf(points.map(({ value }) => value), [height - 50, 12]) // prettier-ignore
  const grid = [
    ...across.ticks.map(
      (tick) =>
        `<line class="grid" x1="${at(across, tick)}" x2="${at(across, tick)}" y1="12" y2="${height - 50}"/>` +
        `<text class="tick" x="${at(across, tick)}" y="${height - 32}" text-anchor="middle">${escaped(x.label(tick))}</text>`,
    ),
    ...up.ticks.map(
      (tick) =>
        `<line class="grid" x1="80" x2="${WIDTH - RIGHT}" y1="${at(up, tick)}" y2="${at(up, tick)}"/>` +
        `<text class="tick" x="72" y="${at(up, tick) + 4}" text-anchor="end">${escaped(y.label(tick))}</text>`,
    ),
    `<text class="tick" x="${WIDTH / 2}" y="${height - 8}" text-anchor="middle">${escaped(x.title)}</text>`,
    `<text class="tick" x="16" y="${height / 2}" text-anchor="middle" transform="rotate(-90 16 ${height / 2})">${escaped(y.title)}</text>`,
  ]
  const body = series.toReversed().map(({ name }) => {
    const own = points.filter((point) => point.series === name).toSorted((a, b) => a.x - b.x)
    const line = own.map((point) => `${at(across, point.x)},${at(up, point.value)}`).join(' ')
    const marks = own.map((point) => markOf(point, series, at(across, point.x), at(up, point.value)))
    return `<polyline class="s${markIndex(series, name)}" points="${line}"/>${marks.join('')}`
  })
  return svg(height, [...grid, ...body])
}

/** The mark of each series and its name, as HTML. */
export function legendOf(series: readonly Series[]): string {
  const items = series.map(
    ({ name, title }) =>
      `<li><svg width="16" height="16" aria-hidden="true">${markOf({ series: name, value: 0, label: title }, series, 8, 8)}</svg>${escaped(title)}</li>`,
  )
  return `<ul class="legend">${items.join('')}</ul>`
}

export function escaped(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
  return text.replaceAll(/[&<>"']/g, (char) => names[char] ?? char)
}

type Axis = {
  readonly ticks: readonly number[]
  readonly range: readonly [number, number]
  readonly decades: readonly [number, number]
}

/** Whole decades; what is 0 stands at the lower end. */
function axisOf(values: readonly number[], range: readonly [number, number]): Axis {
  const positive = values.filter((value) => value > 0)
  const low = Math.floor(Math.log10(Math.min(...positive, 1e9)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive, 10 ** low))))
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i))
  return { ticks, range, decades: [low, high] }
}

function at({ range: [from, to], decades: [low, high] }: Axis, value: number): number {
  const part = value <= 0 ? 0 : Math.max(0, (Math.log10(value) - low) / (high - low))
  return Math.round((from + (to - from) * part) * 10) / 10
}

function markIndex(series: readonly Series[], name: string): number {
  return series.find((one) => one.name === name)?.mark ?? 0
}

function markOf(dot: Dot, series: readonly Series[], x: number, y: number): string {
  const index = markIndex(series, dot.series)
  const kind = MARKS[index % MARKS.length]
  const r = index === 0 ? 7 : 5
  const shape =
    kind === 'circle' ? `<circle cx="${x}" cy="${y}" r="${r}"/>`
    : kind === 'square' ? `<rect x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}"/>`
    : kind === 'diamond' ? `<path d="M${x} ${y - r - 1}l${r + 1} ${r + 1}l${-r - 1} ${r + 1}l${-r - 1} ${-r - 1}z"/>`
    : kind === 'triangle' ? `<path d="M${x} ${y - r - 1}l${r + 1} ${2 * r}h${-2 * r - 2}z"/>`
    : kind === 'cross' ? `<path class="open" d="M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}"/>`
    : `<path class="open" d="M${x} ${y - r - 2}v${2 * r + 4}"/>` // prettier-ignore
  return `<g class="s${index}${dot.hollow === true ? ' hollow' : ''}"><title>${escaped(dot.label)}</title>${shape}</g>`
}

function svg(height: number, parts: readonly string[]): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img">${parts.join('\n')}</svg>`
}

// Puts a manifest of a host together from lines of those that are known here, which it is told by hashes of groups of lines.
import { sha256 } from './hash.ts'

/** Of a manifest of so many lines: the beginning of the SHA-256 of each group of so many lines, in their order. */
export type Outline = {
  readonly id: string
  readonly group: number
  readonly lines: number
  readonly hashes: readonly string[]
}

/** How many digits of a hash a host tells: no two groups of ever so many manifests are taken for one another by chance. */
export const HASH_DIGITS = 10

/** For each group of the outline its bytes, where they stand in one of the texts. */
export function knownGroups(outline: Outline, texts: Iterable<Uint8Array>): (Uint8Array | undefined)[] {
  const known = outline.hashes.map((): Uint8Array | undefined => undefined)
  const wanted = new Map<string, number[]>()
  outline.hashes.forEach((hash, i) => {
    const places = wanted.get(hash)
    if (places === undefined) wanted.set(hash, [i])
    else places.push(i)
  })
  const take = (group: Uint8Array): boolean => {
    const hash = sha256(group).slice(0, HASH_DIGITS)
    const places = wanted.get(hash)
    for (const i of places ?? []) known[i] = group
    return places !== undefined
  }
  for (const text of texts) {
    const starts = lineStarts(text)
    const count = starts.length - 1
    const from = (line: number, lines: number): Uint8Array => text.subarray(starts[line], starts[line + lines])
    for (let line = 0; line + outline.group <= count;) line += take(from(line, outline.group)) ? outline.group : 1
    // the last group is what is left
    const last = outline.lines % outline.group
    if (last > 0 && last <= count) take(from(count - last, last))
    if (known.every((group) => group !== undefined)) break
  }
  return known
}

/** The lines that are not known, as FROM-TO,FROM-TO...; empty where all are. */
export function unknownLines({ group, lines }: Outline, known: readonly (Uint8Array | undefined)[]): string {
  const ranges: { from: number; to: number }[] = []
  known.forEach((bytes, i) => {
    if (bytes !== undefined) return
    const [from, to] = [i * group + 1, Math.min(lines, (i + 1) * group)]
    const last = ranges.at(-1)
    if (last?.to === from - 1) last.to = to
    else ranges.push({ from, to })
  })
  return ranges.map(({ from, to }) => `${from}-${to}`).join(',')
}

/** The whole manifest, with the lines that were not known; it is what the host has only if its hash is the id. */
export function joinLines(
  { group, lines }: Outline,
  known: readonly (Uint8Array | undefined)[],
  unknown: Uint8Array,
): Uint8Array {
  const starts = lineStarts(unknown)
  let line = 0
  const parts = known.map((bytes, i) => {
    if (bytes !== undefined) return bytes
    const begin = line
    line += Math.min(group, lines - i * group)
    return unknown.subarray(starts[begin] ?? unknown.length, starts[line] ?? unknown.length)
  })
  return Buffer.concat(parts)
}

/** Where each line begins, and behind the last one the end. */
function lineStarts(text: Uint8Array): number[] {
  const starts = [0]
  for (let end = text.indexOf(10); end !== -1; end = text.indexOf(10, end + 1)) starts.push(end + 1)
  return starts
}

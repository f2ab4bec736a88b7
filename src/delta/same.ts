// Says the steps that change only metadata or place of what stands in the base: as runs over its manifest, not as members of a tar.
//
// The host has the base's manifest, and perl turns the runs back into members (runtime/same.sh). A run is a line "SKIP COUNT
// MTIME [MODE UID GID]" over the base's directories, files and symlinks, in this order: after SKIP entries COUNT get this
// time ("-" for that of the line before, "=" for their own), and this mode and owner, or keep their own. Behind a line
// "> FROM TO", both in hexadecimal, the entries at or below FROM come to be at or below TO as well, from the first one on.
import type { ByteString } from '../model/bytes.ts'
import { sameMetadata, type Entry } from '../model/entry.ts'
import type { Plan, Step } from '../model/plan.ts'
import type { Tree } from '../model/tree.ts'
import { paxTime } from '../tar/write.ts'

type Move = { readonly from: string; readonly to: string }
type Said = { readonly place: number; readonly step: Step }

/** `steps` are said by `text`; there are none where the plan has no base. */
export function saySame(plan: Plan, base: Tree): { readonly text: string; readonly steps: ReadonlySet<Step> } {
  const known = (['directory', 'file', 'symlink'] as const).flatMap((kind) =>
    base.entries.filter((entry) => entry.kind === kind),
  )
  const places = new Map(known.map((entry, place) => [entry.path as string, place]))
  const steps = new Set<Step>()
  const lines: string[] = []
  for (const move of [undefined, ...movesOf(plan)]) {
    const said: Said[] = []
    for (const step of plan.steps) {
      const path = steps.has(step) ? undefined : pathBefore(step.entry.path, move)
      const place = path === undefined ? undefined : places.get(path)
      const old = place === undefined ? undefined : known[place]
      if (place !== undefined && old !== undefined && isSame(step, old, plan)) said.push({ place, step })
    }
    if (said.length < (move === undefined ? 1 : LEAST)) continue
    for (const { step } of said) steps.add(step)
    if (move !== undefined) lines.push(`> ${hex(move.from)} ${hex(move.to)}\n`)
    lines.push(...runs(said, known))
  }
  return { text: lines.join(''), steps }
}

/** Fewer entries cost less as members. */
const LEAST = 3
/** A plan is gone through once for each. */
const MOST_MOVES = 16

/** Where directories went, most entries first: told by files that the base has elsewhere. */
function movesOf({ steps, base }: Plan): Move[] {
  const counts = new Map<string, number>()
  for (const step of steps) {
    if ((step.kind !== 'link' && step.kind !== 'copy') || step.from.tree !== base) continue
    const [old, now] = [step.from.path.split('/'), step.entry.path.split('/')]
    if (step.from.path === step.entry.path) continue
    while (old.length > 1 && now.length > 1 && old.at(-1) === now.at(-1)) {
      old.pop()
      now.pop()
    }
    const move = `${old.join('/')}\0${now.join('/')}`
    counts.set(move, (counts.get(move) ?? 0) + 1)
  }
  return [...counts]
    .filter(([, count]) => count >= LEAST)
    .toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, MOST_MOVES)
    .map(([move]) => ({ from: move.slice(0, move.indexOf('\0')), to: move.slice(move.indexOf('\0') + 1) }))
}

function pathBefore(path: ByteString, move: Move | undefined): string | undefined {
  if (move === undefined) return path
  if (path === move.to) return move.from
  return path.startsWith(`${move.to}/`) ? move.from + path.slice(move.to.length) : undefined
}

function runs(said: Said[], known: readonly Entry[]): string[] {
  said.sort((a, b) => a.place - b.place)
  const lines: string[] = []
  let end = 0
  let when: string | undefined
  for (let i = 0; i < said.length;) {
    const first = said[i] as Said
    const [time, own] = [timeOf(first, known), ownerOf(first, known)]
    let count = 1
    for (let next = said[i + count]; next !== undefined; next = said[i + ++count])
      if (next.place !== first.place + count || timeOf(next, known) !== time || ownerOf(next, known) !== own) break
    lines.push(`${first.place - end} ${count} ${time === when ? '-' : time}${own}\n`)
    when = time
    end = first.place + count
    i += count
  }
  return lines
}

/** "=" where nothing but the place changes. */
function timeOf({ place, step: { entry } }: Said, known: readonly Entry[]): string {
  const old = known[place]
  return old !== undefined && old.path !== entry.path && sameMetadata(entry, old) ? '=' : paxTime(entry.mtimeNs)
}

function ownerOf({ place, step: { entry } }: Said, known: readonly Entry[]): string {
  const old = known[place]
  if (entry.mode === old?.mode && entry.uid === old.uid && entry.gid === old.gid) return ''
  return ` ${entry.mode.toString(8)} ${entry.uid} ${entry.gid}`
}

function isSame(step: Step, old: Entry, { base }: Plan): boolean {
  const { entry } = step
  if (entry.kind !== old.kind) return false
  if (step.kind === 'link') return step.from.tree === base && step.from.path === old.path && old.path !== entry.path
  if (entry.xattrs.length > 0 || old.xattrs.length > 0) return false
  // "=" would make a link of a file whose inode must not be shared
  if (step.kind === 'copy')
    return (
      step.from.tree === base && step.from.path === old.path && (old.path === entry.path || !sameMetadata(entry, old))
    )
  if (step.kind !== 'make') return false
  return entry.kind !== 'symlink' || (old.kind === 'symlink' && entry.target === old.target)
}

function hex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex')
}

// Says the steps that change only metadata of what stands in the base: as runs over its manifest, not as members of a tar.
//
// The host has the base's manifest, and perl turns the runs back into members (runtime/same.sh). A run is a line "SKIP COUNT
// MTIME [MODE UID GID]" over the base's directories, files and symlinks, in this order: after SKIP entries COUNT get this
// time ("-" for that of the line before), and this mode and owner, or keep their own.
import type { Entry } from '../model/entry.ts'
import type { Plan, Step } from '../model/plan.ts'
import type { Tree } from '../model/tree.ts'
import { paxTime } from '../tar/write.ts'

/** `steps` are said by `text`; there are none where the plan has no base. */
export function saySame(plan: Plan, base: Tree): { readonly text: string; readonly steps: ReadonlySet<Step> } {
  const known = (['directory', 'file', 'symlink'] as const).flatMap((kind) =>
    base.entries.filter((entry) => entry.kind === kind),
  )
  const places = new Map(known.map((entry, place) => [entry.path, place]))
  const said: { readonly place: number; readonly step: Step }[] = []
  for (const step of plan.steps) {
    const place = places.get(step.entry.path)
    const old = place === undefined ? undefined : known[place]
    if (place !== undefined && old !== undefined && isSame(step, old, plan)) said.push({ place, step })
  }
  said.sort((a, b) => a.place - b.place)
  const lines: string[] = []
  let end = 0
  let when: bigint | undefined
  for (let i = 0; i < said.length;) {
    const first = said[i] as (typeof said)[number]
    const own = owned(first.step.entry, known[first.place])
    let count = 1
    for (let next = said[i + count]; next !== undefined; next = said[i + ++count]) {
      const { entry } = next.step
      if (next.place !== first.place + count || entry.mtimeNs !== first.step.entry.mtimeNs) break
      if (owned(entry, known[next.place]) !== own) break
    }
    const time = first.step.entry.mtimeNs === when ? '-' : paxTime(first.step.entry.mtimeNs)
    lines.push(`${first.place - end} ${count} ${time}${own}\n`)
    when = first.step.entry.mtimeNs
    end = first.place + count
    i += count
  }
  return { text: lines.join(''), steps: new Set(said.map(({ step }) => step)) }
}

function isSame(step: Step, old: Entry, { base }: Plan): boolean {
  const { entry } = step
  if (entry.kind !== old.kind || entry.xattrs.length > 0 || old.xattrs.length > 0) return false
  if (step.kind === 'copy') return step.from.tree === base && step.from.path === entry.path
  if (step.kind !== 'make') return false
  return entry.kind !== 'symlink' || (old.kind === 'symlink' && entry.target === old.target)
}

function owned(entry: Entry, old: Entry | undefined): string {
  if (entry.mode === old?.mode && entry.uid === old.uid && entry.gid === old.gid) return ''
  return ` ${entry.mode.toString(8)} ${entry.uid} ${entry.gid}`
}

// Finds for files that are sent the old ones on the host that they are most like, whatever their names.
import type { FileEntry } from '../model/entry.ts'
import type { Plan, Reference, Step } from '../model/plan.ts'
import { filesOf } from '../model/tree.ts'
import type { Known } from './plan.ts'

/** By SHA-256 of new contents how much old ones, by theirs, have in common with them: hashes of their sketches that were found. */
export type Common = ReadonlyMap<string, ReadonlyMap<string, number>>

/** Smaller files have no sketch. */
const LEAST_SIZE = 4096
/** More hashes than that are worth a comparison; that a name is alike counts as much. */
const ENOUGH = 5

/** The files of which no old one stands at the same path. */
export function filesToSketch({ steps }: Plan): FileEntry[] {
  return steps.flatMap((step) =>
    step.kind === 'send' && step.entry.size >= LEAST_SIZE && step.reference?.path !== step.entry.path
      ? [step.entry]
      : [],
  )
}

/**
 * The plan with other references for these files, where an old one is more than twice as much alike as what the name told;
 * of equal ones the first in `held` trees. What is of another size is less alike. Pure.
 */
export function withSimilar(plan: Plan, held: readonly Known[], common: Common): Plan {
  const places = placesOf(held, new Set([...common.values()].flatMap((counts) => [...counts.keys()])))
  const wanted = new Set(filesToSketch(plan))
  const steps = plan.steps.map((step): Step => {
    if (step.kind !== 'send' || !wanted.has(step.entry)) return step
    const counts = common.get(step.entry.sha256) ?? new Map<string, number>()
    const likeness = ({ sha256, size }: Reference): number =>
      ((counts.get(sha256) ?? 0) * Math.min(size, step.entry.size)) / Math.max(size, step.entry.size)
    let reference = step.reference
    let most = reference === undefined ? ENOUGH : 2 * (likeness(reference) + ENOUGH)
    const found = [...counts.keys()].flatMap((sha256) => places.get(sha256) ?? [])
    for (const { place } of found.toSorted((a, b) => a.order - b.order))
      if (likeness(place) > most) [reference, most] = [place, likeness(place)]
    return reference === undefined ? step : { ...step, reference }
  })
  return { ...plan, steps }
}

type Places = ReadonlyMap<string, { readonly place: Reference; readonly order: number }>

/** Where in the host's trees contents stand first. */
function placesOf(held: readonly Known[], wanted: ReadonlySet<string>): Places {
  const places = new Map<string, { place: Reference; order: number }>()
  for (const { id, tree } of held)
    for (const { path, size, sha256 } of filesOf(tree))
      if (wanted.has(sha256) && !places.has(sha256))
        places.set(sha256, { place: { tree: id, path, size, sha256 }, order: places.size })
  return places
}

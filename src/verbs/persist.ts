// Paths that outlive generations: which they are, that the image has room for them, and that the host keeps them.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import type { Entry } from '../model/entry.ts'
import { persistedAt } from '../model/service.ts'
import type { Asked, Wanted } from './prepare.ts'
import { seenOf } from './stack.ts'

/** What is remembered on the host and what is asked for now, by the directories there; parents come before what lies in them. */
export function persisted({ options, now, context }: Asked): ReadonlyMap<string, string> {
  const given = new Set([...(now.container?.service.persist ?? []), ...options.persist])
  for (const path of options.unpersist) given.delete(path)
  const at = { store: context.store, container: options.target.container }
  return new Map([...given].toSorted().map((path) => [path, persistedAt(path, at)]))
}

/** Throws E_PERSIST where an image has a file or a link there; it is asked once, when a path is new. */
export function checkPersist(wanted: Pick<Wanted, 'layers'>, at: Asked): void {
  const fresh = newPaths(at)
  if (fresh.length === 0) return
  const entries = new Map<string, Entry>(seenOf(wanted.layers).entries.map((entry) => [entry.path, entry]))
  for (const path of fresh) {
    const parts = path.slice(1).split('/')
    for (const depth of parts.keys()) {
      const entry = entries.get(parts.slice(0, depth + 1).join('/'))
      if (entry === undefined) break
      if (entry.kind === 'directory') continue
      const [what, hint] =
        entry.kind === 'symlink'
          ? [`a symbolic link to "${escapeControls(entry.target)}"`, 'name the directory that it leads to']
          : ['no directory', 'name the directory that it lies in']
      throw new VarveError('E_PERSIST', `cannot persist "${path}": "/${entry.path}" is ${what} in the image`, { hint })
    }
  }
}

/** Before the switch: directories for what is new, filled from the image as it will be, and what is given up forgotten. */
export async function keepPersisted(wanted: Pick<Wanted, 'layers'>, at: Asked): Promise<void> {
  const { session } = at.connected
  const { container } = at.options.target
  const [paths, gone] = [newPaths(at), givenUp(at)]
  if (gone.length > 0) await session.ask(['unpersist', container, ...gone])
  if (paths.length > 0) await session.ask(['persist', container, wanted.layers.map(({ id }) => id).join(','), ...paths])
}

/** Whether there is nothing to do before the switch. */
export function keepsPersisted(at: Asked): boolean {
  return newPaths(at).length === 0 && givenUp(at).length === 0
}

function givenUp({ now, options }: Asked): string[] {
  return (now.container?.service.persist ?? []).filter((path) => options.unpersist.includes(path))
}

function newPaths(at: Asked): string[] {
  const known = at.now.container?.service.persist ?? []
  return [...persisted(at).keys()].filter((path) => !known.includes(path))
}

// What a store takes on disk: whose it is, who shares it, and what it would take if nothing were shared.

/** A tree as it is on the host's disk; one that was set aside as damaged has no id. */
export type TreeUsage = {
  readonly id: string | undefined
  readonly entries: number
  /** Of regular files, each inode once. */
  readonly contentBytes: number
  /** Blocks, each inode once, also those that other trees share. */
  readonly diskBytes: number
}

/** What belongs to just one set of trees: those of the set `parent`, and `tree`. Both are positions from 1 on; the set 0 is empty. */
export type Held = { readonly parent: number; readonly tree: number; readonly diskBytes: number }

export type Usage = {
  readonly trees: readonly TreeUsage[]
  /** Each after its parent. */
  readonly held: readonly Held[]
  /** By container: writable layers and data, and the bundles with the copies of trees that are in them. */
  readonly own: ReadonlyMap<string, { readonly writable: number; readonly bundles: number }>
  /** Manifests, the runtime, the reserve, and what lies in the store only for a while. */
  readonly otherBytes: number
}

/** What a container needs. `seen` is what it sees of its current stack, where that is known. */
export type Needs = {
  readonly name: string
  readonly current: readonly string[]
  /** The trees of all of its generations. */
  readonly all: ReadonlySet<string>
  readonly seen: { readonly entries: number; readonly bytes: number } | undefined
}

/** All in bytes on disk. */
export type ContainerDisk = {
  /** The trees of the current generation, each inode once. */
  readonly size: number
  /** What of `size` other containers have too. */
  readonly shared: number
  /** The rest: what freeing the container frees, with its older generations and all that is its own. */
  readonly alone: number
  /** What of `alone` only older generations need. */
  readonly older: number
  /** What of `alone` is writable layers, data, and copies of trees. */
  readonly writable: number
  /** What the current generation would take as a tree that shares nothing. */
  readonly flattened: number
}

export type Shares = { readonly container: string; readonly layers: number; readonly bytes: number }

/** All in bytes on disk; `total` is the sum of the five above it. */
export type StoreDisk = {
  /** Trees of current generations, each inode once. */
  readonly current: number
  /** What only older generations need. */
  readonly older: number
  /** What no generation needs. */
  readonly unused: number
  readonly writable: number
  readonly other: number
  readonly total: number
  /** The current generations of all containers, did they share nothing. */
  readonly flattened: number
  /** `flattened` without `current` and the copies; less than 0 where layers hide more than is shared. */
  readonly saved: number
}

export type Shared = { readonly disk: ContainerDisk; readonly sharedWith: readonly Shares[] }

/** The containers in their order, each with what it shares, and the store that they share. */
export function sharing<Container extends Needs>(
  usage: Usage,
  containers: readonly Container[],
): { readonly containers: readonly (Container & Shared)[]; readonly store: StoreDisk } {
  const store = { current: 0, older: 0, unused: 0 }
  const sums = containers.map((container) => ({
    container,
    size: 0,
    shared: 0,
    older: 0,
    with: new Map<string, number>(),
  }))
  for (const { by, diskBytes } of owned(usage, containers)) {
    store[by.current.length > 0 ? 'current' : by.all.length > 0 ? 'older' : 'unused'] += diskBytes
    for (const sum of sums) {
      const { name } = sum.container
      const others = by.all.filter((other) => other !== name)
      if (by.current.includes(name)) {
        sum.size += diskBytes
        if (others.length > 0) sum.shared += diskBytes
        for (const other of others) sum.with.set(other, (sum.with.get(other) ?? 0) + diskBytes)
      } else if (others.length === 0 && by.all.includes(name)) sum.older += diskBytes
    }
  }
  const trees = new Map(usage.trees.map((tree) => [tree.id, tree]))
  const made = sums.map(({ container, size, shared, older, with: bytes }) => {
    const own = usage.own.get(container.name) ?? { writable: 0, bundles: 0 }
    const writable = own.writable + own.bundles
    const alone = size - shared + older + writable
    const disk = { size, shared, alone, older, writable, flattened: flattened(container, trees) }
    return { ...container, disk, sharedWith: sharesOf(container, containers, bytes) }
  })
  return { containers: made, store: storeDisk(store, { usage, disks: made.map(({ disk }) => disk) }) }
}

type Owners = { readonly current: readonly string[]; readonly all: readonly string[] }

/** Whose each inode is, by the trees that name it. */
function* owned(usage: Usage, containers: readonly Needs[]): Generator<{ by: Owners; diskBytes: number }> {
  const byTree = usage.trees.map(({ id = '' }): Owners => ({
    current: containers.filter(({ current }) => current.includes(id)).map(({ name }) => name),
    all: containers.filter(({ all }) => all.has(id)).map(({ name }) => name),
  }))
  const sets: Owners[] = [{ current: [], all: [] }]
  for (const { parent, tree, diskBytes } of usage.held) {
    const [below, own] = [sets[parent], byTree[tree - 1]]
    const by = { current: union(below?.current, own?.current), all: union(below?.all, own?.all) }
    sets.push(by)
    if (diskBytes > 0) yield { by, diskBytes }
  }
}

function union(a: readonly string[] = [], b: readonly string[] = []): readonly string[] {
  const more = b.filter((name) => !a.includes(name))
  return more.length === 0 ? a : [...a, ...more]
}

/** What layers hide of those below them is in none of the trees that nobody shares. */
function flattened({ current, seen }: Needs, trees: ReadonlyMap<string | undefined, TreeUsage>): number {
  const stack = [...new Set(current)].map((id) => trees.get(id))
  const sum = (of: (tree: TreeUsage) => number): number =>
    stack.reduce((total, tree) => total + (tree === undefined ? 0 : of(tree)), 0)
  const contents = sum((tree) => tree.contentBytes)
  return sum((tree) => tree.diskBytes) - Math.max(0, contents - (seen?.bytes ?? contents))
}

function sharesOf(
  { name, current }: Needs,
  containers: readonly Needs[],
  bytes: ReadonlyMap<string, number>,
): Shares[] {
  return containers
    .filter((other) => other.name !== name && bytes.has(other.name))
    .map((other) => ({
      container: other.name,
      layers: current.filter((id) => other.all.has(id)).length,
      bytes: bytes.get(other.name) ?? 0,
    }))
    .toSorted((a, b) => b.bytes - a.bytes || (a.container < b.container ? -1 : 1))
}

function storeDisk(
  { current, older, unused }: Pick<StoreDisk, 'current' | 'older' | 'unused'>,
  { usage, disks }: { readonly usage: Usage; readonly disks: readonly ContainerDisk[] },
): StoreDisk {
  const flat = disks.reduce((sum, disk) => sum + disk.flattened, 0)
  const writable = disks.reduce((sum, disk) => sum + disk.writable, 0)
  const bundles = [...usage.own.values()].reduce((sum, own) => sum + own.bundles, 0)
  const other = usage.otherBytes
  const total = current + older + unused + writable + other
  return { current, older, unused, writable, other, total, flattened: flat, saved: flat - current - bundles }
}

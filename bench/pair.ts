// The redeploys that are measured: what each is called, and the trees before and after it, which pairs.sh builds.
import { spawnSync } from 'node:child_process'
import { readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { baseTrees } from '../test/fixture/trees.ts'

export interface Pair {
  readonly name: string
  readonly title: string
  /** Absolute paths of two trees. */
  readonly old: string
  readonly new: string
  /** What it is made of, a line each. */
  readonly about: readonly string[]
  readonly newBytes: number
  /** Of the contents of the new tree, what the old one has nowhere. */
  readonly changedBytes: number
  /** The new tree does not replace the old one, it comes to stand beside it. */
  readonly beside: boolean
}

const titles: Readonly<Record<string, string>> = {
  nothing: 'nothing changed',
  'one-file': 'one small file changed, one deleted',
  mtimes: 'every mtime changed',
  'top-layer': 'top layer only: an application and its framework',
  renamed: 'Python tree under another version’s name',
  'node-app': 'Node app: code and 10 dependencies, every mtime',
  security: 'Debian security refresh, 24 packages',
  program: 'C++ program of 1,500 functions, one added',
  go: 'Go program rebuilt',
  node: 'Node runtime, patch release',
  fossil: 'Fossil, next version and libraries',
  release: 'Debian base, next release',
  second: 'second container on a base',
}

export const pairNames: readonly string[] = Object.keys(titles)

/** Builds what is not in the cache; says so on stderr. */
export function pairsNamed(names: readonly string[]): Pair[] {
  const script = join(import.meta.dirname, 'pairs.sh')
  const built = spawnSync(script, [baseTrees().rootfsDebian, ...names], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (built.status !== 0) throw new Error(`pairs.sh ended with ${built.status}`)
  return built.stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', directory = ''] = line.split(' ')
      const [newBytes = 0, changedBytes = 0] = readFileSync(join(directory, 'sizes'), 'utf8').split(' ').map(Number)
      return {
        name,
        title: titles[name] ?? name,
        old: realpathSync(join(directory, 'old')),
        new: realpathSync(join(directory, 'new')),
        about: readFileSync(join(directory, 'about'), 'utf8').trim().split('\n'),
        newBytes,
        changedBytes,
        beside: name === 'second',
      }
    })
}

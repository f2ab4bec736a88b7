// What the kernel's overlayfs shows of layers, read back as a tree.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { byteString } from '../../src/model/bytes.ts'
import type { Tree } from '../../src/model/tree.ts'
import { scanDirectory } from '../../src/source/directory.ts'
import { makeHasher } from '../../src/store/hash.ts'
import { writeTree } from '../fixture/write-tree.ts'
import { contentsOf, sha256 } from './layers.ts'

export type Mounts = Disposable & {
  /** What a mount of layers with contents of `contentsOf` shows. */
  readonly show: (layers: readonly Tree[]) => Promise<Tree | undefined>
}

/** Needs root. */
export async function startMounts(): Promise<Mounts> {
  const work = mkdtempSync(join(tmpdir(), 'varve-stack-'))
  execFileSync('mount', ['-t', 'tmpfs', 'varve-stack', work])
  const texts = new Map(Array.from({ length: 10 }, (_, mark) => [sha256(contentsOf(mark)), contentsOf(mark)]))
  const hash = await makeHasher()
  let run = 0
  return {
    async show(layers) {
      const at = join(work, `${run++}`)
      mkdirSync(join(at, 'empty'), { recursive: true })
      layers.forEach((layer, i) => writeTree(join(at, `${i}`), layer, (file) => texts.get(file.sha256) ?? ''))
      const lowers = [...layers.keys()].toReversed().map((i) => join(at, `${i}`))
      mkdirSync(join(at, 'm'))
      // one lower alone is no overlay
      const words = ['-t', 'overlay', '-o', `lowerdir=${[...lowers, join(at, 'empty')].join(':')}`, 'varve-stack']
      execFileSync('mount', [...words, join(at, 'm')])
      try {
        const options = { hash, previous: undefined, onWarning: () => {} }
        return (await scanDirectory(byteString(join(at, 'm')), options)).tree
      } finally {
        execFileSync('umount', [join(at, 'm')])
        rmSync(at, { recursive: true })
      }
    },
    [Symbol.dispose]() {
      execFileSync('umount', ['-R', work])
      rmSync(work, { recursive: true })
    },
  }
}

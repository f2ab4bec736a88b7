// The runtime among BusyBox's applets and nothing else, and the deltas that such a host is sent.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeDelta } from '../../src/delta/encode.ts'
import { NO_WAYS, type Ways } from '../../src/delta/ways.ts'
import { makePlan } from '../../src/plan/plan.ts'
import { treeId } from '../../src/store/hash.ts'
import { baseTrees } from '../fixture/trees.ts'
import { ground, readTree, type Delta } from './runtime.ts'

/** A shell whose root is the BusyBox host's, with the stores where they are. */
export function busyboxShell(): string[] {
  const work = mkdtempSync(join(ground, 'busybox-'))
  const script = `cd "$0"; mkdir upper work root
    mount -t overlay -o lowerdir="$1",upperdir=upper,workdir=work busybox root
    for path in /proc /dev "$2"; do mkdir -p "root$path"; mount --bind "$path" "root$path"; done`
  execFileSync('sh', ['-euc', script, work, baseTrees().hostBusybox, ground])
  return ['chroot', join(work, 'root'), '/bin/sh']
}

/** What a host with BusyBox's tar gets to make `to` of `from`; `ways` says how files are said. */
export async function busyboxDelta(
  from: string,
  to: string,
  ways: (base: string) => Ways = () => NO_WAYS,
): Promise<Delta> {
  const [base, target] = await Promise.all(
    [from, to].map(async (directory) => {
      const tree = await readTree(directory)
      return { id: treeId(tree), tree }
    }),
  )
  if (base === undefined || target === undefined) throw new Error('there are two trees')
  const plan = makePlan({ target, base, elsewhere: new Map(), stacked: false })
  const delta = encodeDelta(plan, {
    tree: target.tree,
    dialect: 'gnu',
    ways: ways(base.id),
    contents: (file) => readFileSync(join(to, file.path)),
  })
  const chunks: Uint8Array[] = []
  for await (const chunk of delta.chunks) chunks.push(Buffer.from(chunk))
  const file = join(mkdtempSync(join(ground, 'delta-')), 'delta')
  writeFileSync(file, Buffer.concat(chunks))
  return { file, tree: target.id, base: plan.base ?? '-' }
}

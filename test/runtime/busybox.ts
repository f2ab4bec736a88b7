// The runtime among BusyBox's applets and nothing else, and the deltas that such a host is sent.
import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import type { Ways } from '../../src/delta/ways.ts'
import { baseTrees } from '../fixture/trees.ts'
import { deltaBetween, ground, type Delta } from './runtime.ts'

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
export function busyboxDelta(from: string, to: string, ways?: (base: string) => Ways): Promise<Delta> {
  return deltaBetween(from, to, { dialect: 'gnu', ...(ways === undefined ? {} : { ways }) })
}

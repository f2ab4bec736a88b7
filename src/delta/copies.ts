// Says a new file by exact copies of an old one alone, for hosts where each copy is a process of its own.
import type { Cover } from './addresses.ts'
import { makePatch } from './patch.ts'
import { copiesOf, type Patch } from './streams.ts'

/** What agrees for less is cheaper to send than to say; more copies than one in so many bytes take too long. */
const LEAST = 256
const APART = 1024
const SOME = 64

/** Pure: the same two files give the same patch, one without differences. */
export function makeCopies(old: Uint8Array, now: Uint8Array, quick = false): Patch {
  const runs: Cover[] = []
  const writer = {
    cover(place: number, at: number, length: number): void {
      for (let i = 0; i < length; i++) {
        const begun = i
        while (i < length && old[place + i] === now[at + i]) i++
        if (i - begun >= LEAST) runs.push({ place: place + begun, at: at + begun, length: i - begun })
      }
    },
    end: () => copiesOf(longest(runs, SOME + now.length / APART), now),
  }
  return makePatch(old, now, { quick, writer })
}

function longest(runs: readonly Cover[], most: number): readonly Cover[] {
  let left = runs
  for (let least = LEAST; left.length > most; least *= 1.25) left = left.filter(({ length }) => length >= least)
  return left
}

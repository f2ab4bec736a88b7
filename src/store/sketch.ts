// Sketches of contents, made in no time: hashes of a few places, which are looked for at all places of what may be alike.

/** Shorter contents cost hardly more than the words about others. */
const SHORTEST = 4096
/** Of longer contents the beginning says what they are like. */
export const SKETCHED = 256 << 10
const PLACES = 32
/** Bytes of a place: the hash moves by two bits for each. */
const LENGTH = 16
/** What more of the sketches have tells none from another. */
const MOST_HOLDERS = 64
/** Bits of a hash by which most of those that nobody has are told at once. */
const BITS = 22

/** What each byte adds to a hash: xorshift, https://www.jstatsoft.org/article/view/v008i14. */
const ADDED = new Int32Array(256)
for (let i = 0, number = 1; i < ADDED.length; i++) {
  number ^= number << 13
  number ^= number >>> 17
  number ^= number << 5
  ADDED[i] = number
}

/** Of places spread evenly; undefined where contents are too short. */
export function sketchOf(contents: Uint8Array): Int32Array | undefined {
  if (contents.length < SHORTEST) return undefined
  const sketch = new Int32Array(PLACES)
  const room = Math.min(contents.length, SKETCHED) - LENGTH
  for (let i = 0; i < PLACES; i++) {
    const place = Math.floor((room * i) / (PLACES - 1))
    let hash = 0
    for (let at = place; at < place + LENGTH; at++) hash = ((hash << 2) + (ADDED[contents[at] as number] as number)) | 0
    sketch[i] = hash
  }
  return sketch
}

/** Tells by the names of sketches how many of their hashes are those of some place in contents. */
export function finderOf(
  sketches: ReadonlyMap<string, Int32Array>,
): (contents: Uint8Array) => ReadonlyMap<string, number> {
  const holders = new Map<number, string[]>()
  for (const [name, sketch] of sketches)
    for (const hash of new Set(sketch)) {
      const names = holders.get(hash)
      if (names === undefined) holders.set(hash, [name])
      else names.push(name)
    }
  const known = new Uint8Array(2 ** (BITS - 3))
  for (const [hash, names] of holders) {
    if (names.length > MOST_HOLDERS) holders.delete(hash)
    else known[hash >>> (35 - BITS)] = (known[hash >>> (35 - BITS)] as number) | (1 << ((hash >>> (32 - BITS)) & 7))
  }
  return (contents) => {
    const found = new Set<number>()
    const end = Math.min(contents.length, SKETCHED)
    let [hash, last] = [0, 0]
    for (let i = 0; i < end; i++) {
      hash = ((hash << 2) + (ADDED[contents[i] as number] as number)) | 0
      if (((known[hash >>> (35 - BITS)] as number) >>> ((hash >>> (32 - BITS)) & 7)) & 1 && hash !== last) {
        if (holders.has(hash)) found.add(hash)
        last = hash
      }
    }
    const counts = new Map<string, number>()
    for (const each of found) for (const name of holders.get(each) ?? []) counts.set(name, (counts.get(name) ?? 0) + 1)
    return counts
  }
}

// How much a source may hold: bounds against archives that are small on disk and huge when unpacked.

export type Limits = {
  readonly entries: number
  /** Of the uncompressed archive, and of all contents together with their holes. */
  readonly bytes: number
  /** Uncompressed bytes for each compressed one, as soon as there are more than `ratioFloor` of them. */
  readonly ratio: number
  readonly ratioFloor: number
}

export const defaultLimits: Limits = {
  entries: 1_000_000,
  bytes: 64 * 1024 ** 3,
  ratio: 1000,
  ratioFloor: 64 * 1024 ** 2,
}

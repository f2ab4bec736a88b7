// Turns a name from an archive into a path of a tree, or says why no root filesystem can hold it.
import { VarveError } from '../errors.ts'
import { printable, type ByteString } from './bytes.ts'

const LONGEST_PATH = 4096
const LONGEST_COMPONENT = 255
const DEEPEST = 512

export type NormalPath = {
  /** Relative to the root, the root itself is the empty string. */
  readonly path: ByteString
  /** The name began with `/`, which was taken off. */
  readonly absolute: boolean
}

/**
 * Drops `.` components, repeated and trailing slashes and leading ones; refuses what is left ambiguous. Throws
 * E_PATH_EMPTY, E_PATH_ESCAPE, E_PATH_LONG (4096 bytes, 255 a component) or E_PATH_DEPTH (512).
 */
export function normalisePath(raw: ByteString): NormalPath {
  if (raw === '') throw new VarveError('E_PATH_EMPTY', 'cannot use an entry: its name is empty')
  if (raw.includes('\0')) throw refused('E_PATH_ESCAPE', raw, 'the name contains a NUL byte')
  const components = raw.split('/').filter((component) => component !== '' && component !== '.')
  if (components.includes('..')) throw refused('E_PATH_ESCAPE', raw, 'the name contains ".."')
  if (components.length > DEEPEST) throw refused('E_PATH_DEPTH', raw, `it is deeper than ${DEEPEST} directories`)
  if (components.some((component) => component.length > LONGEST_COMPONENT))
    throw refused('E_PATH_LONG', raw, `a component is longer than ${LONGEST_COMPONENT} bytes`)
  const path = components.join('/') as ByteString
  if (path.length > LONGEST_PATH) throw refused('E_PATH_LONG', raw, `it is longer than ${LONGEST_PATH} bytes`)
  return { path, absolute: raw.startsWith('/') }
}

function refused(code: 'E_PATH_ESCAPE' | 'E_PATH_LONG' | 'E_PATH_DEPTH', raw: ByteString, why: string): VarveError {
  const shown = raw.length > 200 ? `${printable(raw.slice(0, 200))}...` : printable(raw)
  return new VarveError(code, `cannot use "${shown}": ${why}`)
}

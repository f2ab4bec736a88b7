// What config.json needs of the image's own files: who its users are, and whose its directories are.
import type { Volume } from '../bundle/generated.ts'
import { needsAccounts, type Accounts } from '../bundle/user.ts'
import { VarveError } from '../errors.ts'
import { byteString, escapeControls } from '../model/bytes.ts'
import type { Entry } from '../model/entry.ts'
import type { Asked } from './prepare.ts'
import { seenOf } from './stack.ts'

const LARGEST = 4 << 20

/** Read from the contents of the tree, in which nothing leads elsewhere. Throws E_CONFIG_USER for a symlink. */
export async function accountsFor(user: string | undefined, at: Asked): Promise<Accounts> {
  if (!needsAccounts(user)) return { passwd: undefined, group: undefined }
  const found = entriesAt(['etc', 'etc/passwd', 'etc/group'], at)
  const byName = !/^[0-9]+$/.test(user ?? '')
  const read = async (path: string): Promise<string | undefined> => {
    const entry = found.get(path)
    const link = [found.get('etc'), entry].find((each) => each?.kind === 'symlink')
    if (link !== undefined && byName)
      throw new VarveError(
        'E_CONFIG_USER',
        `cannot use the user "${escapeControls(user ?? '')}": ${link.path} of the image is a symbolic link, which is not followed`,
        { hint: 'name it by number: --user UID:GID' },
      )
    return entry?.kind === 'file' && entry.size <= LARGEST ? textOf(entry, at) : undefined
  }
  return { passwd: await read('etc/passwd'), group: await read('etc/group') }
}

async function textOf(file: Entry & { kind: 'file' }, { source, manifest }: Asked): Promise<string> {
  if (file.size === 0) return ''
  const bytes = manifest.contents.get(file.sha256) ?? source.contents(file)
  const chunks: Uint8Array[] = []
  if (bytes instanceof Uint8Array) chunks.push(bytes)
  else for await (const chunk of bytes) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

/** Volumes as the image has their directories. */
export function volumesAt(paths: readonly string[], at: Asked): Volume[] {
  const inTree = (path: string): string => path.split('/').filter((part) => part !== '' && part !== '.').join('/') // prettier-ignore
  const found = entriesAt(paths.map(inTree), at)
  return paths.map((path) => {
    const entry = found.get(inTree(path))
    const owner = entry?.kind === 'directory' ? { uid: entry.uid, gid: entry.gid, mode: entry.mode } : undefined
    return { path, owner }
  })
}

/** What a container sees at these paths. */
function entriesAt(paths: readonly string[], { source }: Asked): Map<string, Entry> {
  if (paths.length === 0) return new Map()
  const wanted = new Set(paths.map((path) => byteString(Buffer.from(path).toString('latin1'))))
  const found = seenOf(source.layers).entries.filter(({ path }) => wanted.has(path))
  return new Map(found.map((entry) => [Buffer.from(entry.path, 'latin1').toString('utf8'), entry]))
}

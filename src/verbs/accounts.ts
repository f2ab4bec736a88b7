// The image's own etc/passwd and etc/group, from the contents of its tree.
import { needsAccounts, type Accounts } from '../bundle/user.ts'
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import type { Entry } from '../model/entry.ts'
import type { Asked } from './prepare.ts'
import { seenOf } from './stack.ts'

const LARGEST = 4 << 20

/** Read from the tree's contents, in which nothing leads elsewhere. Throws E_CONFIG_USER for a symlink. */
export async function accountsFor(user: string | undefined, { source, manifest }: Asked): Promise<Accounts> {
  if (!needsAccounts(user)) return { passwd: undefined, group: undefined }
  const byName = !/^[0-9]+$/.test(user ?? '')
  const wanted = new Map<string, Entry | undefined>([['etc', undefined], ['etc/passwd', undefined], ['etc/group', undefined]]) // prettier-ignore
  for (const entry of seenOf(source.layers).entries) if (wanted.has(entry.path)) wanted.set(entry.path, entry)
  const read = async (path: string): Promise<string | undefined> => {
    const entry = wanted.get(path)
    const link = [wanted.get('etc'), entry].find((each) => each?.kind === 'symlink')
    if (link !== undefined && byName)
      throw new VarveError(
        'E_CONFIG_USER',
        `cannot use the user "${escapeControls(user ?? '')}": ${escapeControls(link.path)} of the image is a symbolic link, which is not followed`,
        { hint: 'name it by number: --user UID:GID' },
      )
    if (entry?.kind !== 'file' || entry.size > LARGEST) return undefined
    if (entry.size === 0) return ''
    const bytes = manifest.contents.get(entry.sha256) ?? source.contents(entry)
    const chunks: Uint8Array[] = []
    if (bytes instanceof Uint8Array) chunks.push(bytes)
    else for await (const chunk of bytes) chunks.push(chunk)
    return Buffer.concat(chunks).toString('utf8')
  }
  return { passwd: await read('etc/passwd'), group: await read('etc/group') }
}

// Reads the extended attributes of a directory's entries as raw bytes, whatever bytes their names have.
import { spawnSync } from 'node:child_process'
import { getAttributeSync, listAttributesSync } from '@napi-rs/xattr'
import { VarveError, messageOf } from '../errors.ts'
import { byteString, printable, type ByteString } from '../model/bytes.ts'
import type { Entry, Xattr } from '../model/entry.ts'
import { unescapeOctal } from '../model/manifest.ts'
import { acceptXattrs } from '../model/xattr.ts'

type Owner = { readonly path: ByteString; readonly kind: Entry['kind'] }
type OnWarning = (warning: { code: string; message: string }) => void

/** `root` is a latin1 path. Entries without attributes are not in the answer. Names what it leaves out in one warning. */
export function readXattrs(
  root: ByteString,
  owners: readonly Owner[],
  onWarning: OnWarning,
): Map<ByteString, readonly Xattr[]> {
  const found = new Map<ByteString, readonly Xattr[]>()
  const dropped = new Map<ByteString, number>()
  const raw: Owner[] = []
  const keep = (owner: Owner, attributes: readonly Xattr[]): void => {
    const accepted = acceptXattrs(attributes, owner)
    if (accepted.kept.length > 0) found.set(owner.path, accepted.kept)
    for (const name of accepted.dropped) dropped.set(name, (dropped.get(name) ?? 0) + 1)
  }
  for (const owner of owners) {
    const attributes = readByName(`${root}/${owner.path}`)
    if (attributes === 'raw') raw.push(owner)
    else if (attributes.length > 0) keep(owner, attributes)
  }
  if (raw.length > 0) for (const [owner, attributes] of readThroughGetfattr(root, raw)) keep(owner, attributes)
  if (dropped.size > 0) {
    const names = [...dropped].map(([name, count]) => `${printable(name)} (${count})`).join(', ')
    onWarning({ code: 'W_XATTR', message: `left out extended attributes that belong to this machine: ${names}` })
  }
  return found
}

/** The binding takes paths and names as UTF-8 only; 'raw' where either is not. */
function readByName(path: string): Xattr[] | 'raw' {
  // oxlint-disable-next-line no-control-regex
  const text = /^[\0-\x7f]*$/.test(path) ? path : Buffer.from(path, 'latin1').toString('utf8')
  if (text.includes('\ufffd')) return 'raw'
  let names: string[]
  try {
    names = listAttributesSync(text)
  } catch (error) {
    if (/Invalid attribute/.test(messageOf(error))) return 'raw'
    if (/ENOTSUP|EOPNOTSUPP|not supported|os error 95/i.test(messageOf(error))) return []
    throw new VarveError(
      'E_SOURCE',
      `cannot read the extended attributes of "${printable(path)}": ${messageOf(error)}`,
      { cause: error },
    )
  }
  if (names.length === 0) return []
  if (names.some((name) => name.includes('\ufffd'))) return 'raw'
  const attributes: Xattr[] = []
  for (const name of names) {
    const value = getAttributeSync(text, name)
    if (value !== null)
      attributes.push({
        name: byteString(Buffer.from(name).toString('latin1')),
        value: byteString(value.toString('latin1')),
      })
  }
  return attributes
}

function readThroughGetfattr(root: ByteString, owners: readonly Owner[]): Map<Owner, Xattr[]> {
  const input = Buffer.from(owners.map(({ path }) => `${root}/${path}\0`).join(''), 'latin1')
  const run = spawnSync('xargs', ['-0', 'getfattr', '-h', '-d', '-m', '-', '-e', 'hex', '--absolute-names', '--'], {
    input,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    maxBuffer: 1 << 30,
  })
  if (run.error !== undefined || run.status === 127 || /getfattr: No such file/.test(run.stderr.toString()))
    throw new VarveError(
      'E_TOOL',
      'cannot read the extended attributes of names that are not UTF-8: getfattr is not installed',
      { hint: 'apt-get install attr' },
    )
  const byPath = new Map(owners.map((owner) => [`${root}/${owner.path}`, owner]))
  const found = new Map<Owner, Xattr[]>()
  let attributes: Xattr[] | undefined
  for (const line of run.stdout.toString('latin1').split('\n')) {
    if (line.startsWith('# file: ')) {
      const owner = byPath.get(unescapeOctal(line.slice(8)))
      attributes = owner && []
      if (owner && attributes) found.set(owner, attributes)
    } else if (line !== '') {
      const equals = line.indexOf('=0x')
      const value = Buffer.from(line.slice(equals + 3), 'hex').toString('latin1')
      attributes?.push({ name: byteString(unescapeOctal(line.slice(0, equals))), value: byteString(value) })
    }
  }
  return found
}

// Turns an access control list in the text of star and GNU tar into the bytes of the kernel's extended attribute.
import { byteString, type ByteString } from '../model/bytes.ts'

/** https://github.com/torvalds/linux/blob/master/include/uapi/linux/posix_acl.h */
const USER_OBJ = 0x01
const USER = 0x02
const GROUP_OBJ = 0x04
const GROUP = 0x08
const MASK = 0x10
const OTHER = 0x20
const NO_ID = 0xffffffff

type AclEntry = { readonly tag: number; readonly permissions: number; readonly id: number }

/** Undefined where the text is no ACL, or names a user whose number it does not tell. */
export function aclFromText(text: ByteString): ByteString | undefined {
  const entries: AclEntry[] = []
  for (const line of text.split(/[\n,]/)) {
    const words = line.replace(/#.*$/, '').trim()
    if (words === '') continue
    const entry = entryFromText(words)
    if (entry === undefined) return undefined
    entries.push(entry)
  }
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id)
  return isWhole(entries) ? encode(entries) : undefined
}

/** `user::rwx`, `group:1000:r--`, or with the number last as star and libarchive do: `user:joe:rw-:1000`. */
function entryFromText(words: string): AclEntry | undefined {
  const match = /^(u|user|g|group|m|mask|o|other):([^:]*):([rwx-]{3})(?::([0-9]+))?$/.exec(words)
  if (match === null) return undefined
  const [, kind = '', name = '', flags = '', last] = match
  const permissions = (flags[0] === 'r' ? 4 : 0) + (flags[1] === 'w' ? 2 : 0) + (flags[2] === 'x' ? 1 : 0)
  if (!/^[r-][w-][x-]$/.test(flags)) return undefined
  const named = name !== ''
  if (kind.startsWith('m') || kind.startsWith('o'))
    return named ? undefined : { tag: kind.startsWith('m') ? MASK : OTHER, permissions, id: NO_ID }
  const user = kind.startsWith('u')
  if (!named) return { tag: user ? USER_OBJ : GROUP_OBJ, permissions, id: NO_ID }
  const number = last ?? name
  if (!/^[0-9]{1,10}$/.test(number) || Number(number) >= NO_ID) return undefined
  return { tag: user ? USER : GROUP, permissions, id: Number(number) }
}

/** What the kernel asks for: one of each unnamed entry, a mask where something is named, nobody twice. */
function isWhole(entries: readonly AclEntry[]): boolean {
  const count = (tag: number): number => entries.filter((entry) => entry.tag === tag).length
  const named = count(USER) + count(GROUP)
  return (
    [USER_OBJ, GROUP_OBJ, OTHER].every((tag) => count(tag) === 1) &&
    (named > 0 ? count(MASK) === 1 : count(MASK) <= 1) &&
    entries.every((entry, i) => entries[i - 1]?.tag !== entry.tag || entries[i - 1]?.id !== entry.id)
  )
}

function encode(entries: readonly AclEntry[]): ByteString {
  const words = entries.map(
    ({ tag, permissions, id }) => littleEndian(tag, 2) + littleEndian(permissions, 2) + littleEndian(id, 4),
  )
  return byteString(littleEndian(2, 4) + words.join(''))
}

function littleEndian(value: number, bytes: number): string {
  return Array.from({ length: bytes }, (_, i) => String.fromCharCode((value >>> (8 * i)) & 0xff)).join('')
}

// Who runs the process: a user and group by name or number, looked up in the texts of the image's own etc/passwd and etc/group.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import type { JsonObject } from './document.ts'

/** Texts of the image's files, undefined where it has none; why one cannot be read is said where it is needed. */
export type Accounts = { readonly passwd: string | undefined; readonly group: string | undefined }

const FORM = /^([A-Za-z0-9_][A-Za-z0-9_.-]*\$?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]*\$?))?$/
const LARGEST_ID = 4294967294

/** Whether the image's files must be looked at: for names, and for the group of a user that has none given. */
export function needsAccounts(user: string | undefined): boolean {
  return user !== undefined && !/^[0-9]+:[0-9]+$/.test(user)
}

/**
 * The `user` of a process, by https://github.com/opencontainers/image-spec/blob/v1.1.0/conversion.md#configuser : only a
 * user by name without a group gets the groups that it is a member of. Throws E_CONFIG, E_CONFIG_USER.
 */
export function resolveUser(text: string | undefined, accounts: Accounts): JsonObject {
  if (text === undefined || text === '') return { uid: 0, gid: 0 }
  const { user, group } = splitUser(text)
  const byName = !/^[0-9]+$/.test(user)
  const known = linesOf(accounts.passwd).find((fields) => fields[byName ? 0 : 2] === user)
  if (byName && known === undefined) throw lacks('user', user, accounts.passwd === undefined ? 'etc/passwd' : undefined)
  const uid = byName ? idOf(known?.[2], user) : idOf(user, user)
  if (group !== undefined) return { uid, gid: groupId(group, accounts.group) }
  const gid = known === undefined ? 0 : idOf(known[3], user)
  const member = linesOf(accounts.group).filter((fields) => fields[3]?.split(',').includes(user))
  const others = [...new Set(byName ? member.map((fields) => idOf(fields[2], fields[0] ?? '')) : [])]
  return { uid, gid, ...(others.length > 0 ? { additionalGids: others } : {}) }
}

/** Throws E_CONFIG. */
export function splitUser(text: string): { readonly user: string; readonly group: string | undefined } {
  const [, user, group] = FORM.exec(text) ?? []
  if (user === undefined)
    throw new VarveError('E_CONFIG', `cannot use "${escapeControls(text)}" as a user: it is not USER or USER:GROUP`, {
      hint: 'write for example --user 1000:1000 or --user fossil',
    })
  return { user, group }
}

/** Groups that are given besides, by name or number. Throws as resolveUser does. */
export function groupId(group: string, text: string | undefined): number {
  if (/^[0-9]+$/.test(group)) return idOf(group, group)
  const known = linesOf(text).find(([name]) => name === group)
  if (known === undefined) throw lacks('group', group, text === undefined ? 'etc/group' : undefined)
  return idOf(known[2], group)
}

function linesOf(text: string | undefined): string[][] {
  return (text ?? '').split('\n').map((line) => line.split(':'))
}

function idOf(text: string | undefined, of: string): number {
  const id = /^[0-9]{1,10}$/.test(text ?? '') ? Number(text) : Infinity
  if (id > LARGEST_ID)
    throw new VarveError(
      'E_CONFIG_USER',
      `cannot use the user or group "${escapeControls(of)}": "${escapeControls(text ?? '')}" is no id below ${LARGEST_ID + 1}`,
      { hint: 'write numbers, e.g. --user 1000:1000' },
    )
  return id
}

function lacks(what: 'user' | 'group', name: string, file: string | undefined): VarveError {
  const why = file === undefined ? `the image has no such ${what}` : `the image has no ${file}`
  return new VarveError('E_CONFIG_USER', `cannot use the ${what} "${escapeControls(name)}": ${why}`, {
    hint: 'name it by number: --user UID:GID',
  })
}

// Users and groups by name and number, as the image's own files have them.
import { describe, expect, test } from 'vitest'
import { groupId, needsAccounts, resolveUser, type Accounts } from '../../src/bundle/user.ts'

const FILES: Accounts = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\n# a comment\nfossil:x:499:498:Fossil:/museum:/bin/sh\nbroken:x\nlarge:x:4294967295:0::/:\nwww-data:x:33:33::/:\n\n',
  group: 'root:x:0:\nfossil:x:498:\nstaff:x:50:root,fossil\nvideo:x:44:fossil\n',
} // prettier-ignore
const NONE: Accounts = { passwd: undefined, group: undefined }

describe('resolveUser()', () => {
  test.each<[string | undefined, object]>([
    [undefined, { uid: 0, gid: 0 }],
    ['', { uid: 0, gid: 0 }],
    ['fossil', { uid: 499, gid: 498, additionalGids: [50, 44] }],
    ['www-data', { uid: 33, gid: 33 }],
    // a group that is given leaves no others, and a number is copied
    ['fossil:video', { uid: 499, gid: 44 }],
    ['fossil:7', { uid: 499, gid: 7 }],
    ['499', { uid: 499, gid: 498 }],
    ['499:staff', { uid: 499, gid: 50 }],
    ['1000', { uid: 1000, gid: 0 }],
    ['1000:1001', { uid: 1000, gid: 1001 }],
    ['4294967294:4294967294', { uid: 4294967294, gid: 4294967294 }],
  ])('%j is %j', (user, expected) => {
    expect(resolveUser(user, FILES)).toEqual(expected)
  })

  test('takes numbers where there are no files', () => {
    expect(resolveUser('7', NONE)).toEqual({ uid: 7, gid: 0 })
    expect(() => resolveUser('fossil', NONE)).toThrow('the image has no etc/passwd')
    expect(() => resolveUser('7:staff', NONE)).toThrow('the image has no etc/group')
  })

  test.each<[string, string, string]>([
    ['nobody', 'E_CONFIG_USER', 'cannot use the user "nobody": the image has no such user'],
    ['fossil:wheel', 'E_CONFIG_USER', 'cannot use the group "wheel": the image has no such group'],
    ['broken', 'E_CONFIG_USER', 'is no id'],
    ['large', 'E_CONFIG_USER', 'is no id'],
    ['4294967295', 'E_CONFIG_USER', 'is no id'],
    ['1:4294967295', 'E_CONFIG_USER', 'is no id'],
    ...['1:2:3', '1 ', '1\n', ':1', '1:', 'root;id', '-1', '../x', '\x1b[1m', ' '].map((bad) => [bad, 'E_CONFIG', 'it is not USER or USER:GROUP'] satisfies [string, string, string]),
  ])('refuses %j', (user, code, message) => {
    expect(() => resolveUser(user, FILES)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }))
  }) // prettier-ignore
})

test('groupId() finds groups that are given besides', () => {
  expect([groupId('staff', FILES.group), groupId('7', undefined)]).toEqual([50, 7])
  expect(() => groupId('wheel', FILES.group)).toThrow(expect.objectContaining({ code: 'E_CONFIG_USER' }))
})

test('needsAccounts() is false where two numbers say it all', () => {
  expect([undefined, '1:2', '1', 'a', 'a:1', '1:a'].map(needsAccounts)).toEqual([false, false, true, true, true, true])
})

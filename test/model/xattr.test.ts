// acceptXattrs: which attributes belong to a root filesystem, and which of them a kernel would refuse.
import { describe, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { acceptXattrs } from '../../src/model/xattr.ts'

const ACL = '\x02\0\0\0' + '\x01\0\x06\0\xff\xff\xff\xff'.repeat(4)
const V1 = '\x01\0\0\x01'.padEnd(12, '\0')
const V2 = '\x01\0\0\x02'.padEnd(20, '\xff')
const V3 = '\0\0\0\x03'.padEnd(24, '\0')

function accept(name: string, value = 'x', kind: Entry['kind'] = 'file') {
  const raw = [{ name: byteString(name), value: byteString(value) }]
  return acceptXattrs(raw, { path: byteString('p'), kind })
}

describe('acceptXattrs()', () => {
  test.each<[string, string, Entry['kind']?]>([
    ['user.a', 'x'],
    ['user.a', ''],
    ['user.\xff', '\0\xff', 'directory'],
    ['user.a', 'x'.repeat(65_536)],
    ['security.capability', V1],
    ['security.capability', V2],
    ['security.capability', V3],
    ['system.posix_acl_access', ACL],
    ['system.posix_acl_default', ACL, 'directory'],
  ])('keeps %j', (name, value, kind) => {
    expect(accept(name, value, kind)).toEqual({ kept: [{ name, value }], dropped: [] })
  })
  test.each<[string, Entry['kind']?]>([
    ['trusted.overlay.redirect'],
    ['trusted.x'],
    ['user.overlay.whiteout'],
    ['user.'],
    ['security.selinux'],
    ['security.ima'],
    ['system.nfs4_acl'],
    ['com.apple.quarantine'],
    ['user.a', 'symlink'],
    ['user.a', 'fifo'],
    ['system.posix_acl_default', 'file'],
    ['system.posix_acl_access', 'symlink'],
  ])('leaves out %j of a %s', (name, kind) => {
    expect(accept(name, 'x'.repeat(70_000), kind)).toEqual({ kept: [], dropped: [name] })
  })
  test.each([
    ['48 a value of 70 KiB', 'E_XATTR_SIZE', 'user.a', 'x'.repeat(70 * 1024)],
    ['a long name', 'E_XATTR_SIZE', `user.${'n'.repeat(251)}`, ''],
    ['49 an empty capability', 'E_CAP', 'security.capability', ''],
    ['49 a capability of version 4', 'E_CAP', 'security.capability', '\x01\0\0\x04'.padEnd(24, '\0')],
    ['49 a capability that is too long', 'E_CAP', 'security.capability', `${V2}\0`],
    ['49 a version 1 of the size of 2', 'E_CAP', 'security.capability', V1.padEnd(20, '\0')],
    ['49 a capability with unknown flags', 'E_CAP', 'security.capability', '\x02\0\0\x02'.padEnd(20, '\0')],
    ['an ACL that is cut', 'E_CAP', 'system.posix_acl_access', ACL.slice(0, -1)],
    ['an ACL of version 1', 'E_CAP', 'system.posix_acl_access', ACL.replace('\x02', '\x01')],
  ])('refuses %s', (_, code, name, value) => {
    expect(() => accept(name, value)).toThrow(expect.objectContaining({ code }))
  })
  test('sorts by name', () => {
    const raw = ['user.b', 'security.capability', 'user.a'].map((name) => ({
      name: byteString(name),
      value: byteString(V2),
    }))
    const { kept } = acceptXattrs(raw, { path: byteString('p'), kind: 'file' })
    expect(kept.map(({ name }) => name)).toEqual(['security.capability', 'user.a', 'user.b'])
  })
})

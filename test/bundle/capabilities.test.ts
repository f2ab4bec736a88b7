// Capabilities by name, added and dropped as Docker reads it.
import { expect, test } from 'vitest'
import { ALL_CAPABILITIES, CAPABILITIES, parseCapability, withCapabilities } from '../../src/bundle/capabilities.ts'

const root = { user: { uid: 0 }, capabilities: { bounding: ['CAP_CHOWN', 'CAP_KILL'], effective: ['CAP_CHOWN', 'CAP_KILL'], permitted: ['CAP_CHOWN', 'CAP_KILL'] } } // prettier-ignore

test.each<[string[], string[], string[]]>([
  [['SYS_TIME'], [], ['CAP_CHOWN', 'CAP_KILL', 'CAP_SYS_TIME']],
  [['cap_sys_time', 'CHOWN'], ['kill'], ['CAP_CHOWN', 'CAP_SYS_TIME']],
  [['KILL'], ['ALL'], ['CAP_KILL']],
  [['ALL'], ['CHOWN', 'KILL'], ALL_CAPABILITIES.filter((name) => name !== 'CAP_CHOWN' && name !== 'CAP_KILL')],
  [[], ['all'], []],
])('withCapabilities() adds %j and drops %j', (add, drop, expected) => {
  const { capabilities } = withCapabilities(root, add, drop) as typeof root
  for (const set of ['bounding', 'effective', 'permitted'] as const)
    expect(capabilities[set].toSorted()).toEqual(expected.toSorted())
})

test('withCapabilities() gives to others than root what exec leaves them', () => {
  const process = { user: { uid: 7 }, capabilities: { bounding: ['CAP_CHOWN'], ambient: ['CAP_KILL'] } }
  expect(withCapabilities(process, ['SYS_TIME'], ['KILL'])).toEqual({ user: { uid: 7 }, capabilities: { bounding: ['CAP_CHOWN', 'CAP_SYS_TIME'], ambient: [] } }) // prettier-ignore
  expect(withCapabilities({ user: { uid: 7 } }, ['SYS_TIME'], [])).toEqual({ user: { uid: 7 }, capabilities: { bounding: ['CAP_SYS_TIME'] } }) // prettier-ignore
  expect(withCapabilities(process, [], [])).toBe(process)
})

test('parseCapability() knows those of the kernel, and no others', () => {
  expect(new Set(ALL_CAPABILITIES).size).toBe(41)
  expect(CAPABILITIES).toHaveLength(14)
  for (const bad of ['', 'CAP_', 'ROOT', 'SYS_TIME\n'])
    expect(() => parseCapability(bad)).toThrow(expect.objectContaining({ code: 'E_USAGE' }))
})

// The capabilities of a process: those that Docker leaves to root in a container, and more or fewer of them by name.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { at, objectAt, textsAt, type JsonObject } from './document.ts'

/** https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities */
const DEFAULT =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'
const OTHERS =
  'DAC_READ_SEARCH LINUX_IMMUTABLE NET_BROADCAST NET_ADMIN IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_PTRACE SYS_PACCT ' +
  'SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG LEASE AUDIT_CONTROL MAC_OVERRIDE MAC_ADMIN SYSLOG ' +
  'WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'

export const CAPABILITIES = DEFAULT.split(' ').map((name) => `CAP_${name}`)
export const ALL_CAPABILITIES = [...CAPABILITIES, ...OTHERS.split(' ').map((name) => `CAP_${name}`)]

/** Reads `SYS_TIME`, `cap_sys_time` and `ALL`. Throws E_USAGE. */
export function parseCapability(text: string): readonly string[] {
  const name = text.toUpperCase().replace(/^CAP_/, '')
  if (name === 'ALL') return ALL_CAPABILITIES
  if (!ALL_CAPABILITIES.includes(`CAP_${name}`))
    throw new VarveError(
      'E_USAGE',
      `cannot use "${escapeControls(text)}" as a capability: there is none of that name`,
      {
        hint: 'write for example --cap-add SYS_TIME, or ALL; man 7 capabilities lists them',
      },
    )
  return [`CAP_${name}`]
}

/**
 * A process with more and fewer capabilities, as Docker reads it: named ones win over ALL. More come into its bounding set
 * and, where it is root's, into those that root has at once; from any other user exec would take them away again.
 */
export function withCapabilities(process: JsonObject, add: readonly string[], drop: readonly string[]): JsonObject {
  if (add.length + drop.length === 0) return process
  const before = objectAt(process, 'capabilities')
  const gaining = at(process, 'user', 'uid') === 0 ? ['bounding', 'effective', 'permitted'] : ['bounding']
  const [more, gone] = [add.flatMap(parseCapability), drop.flatMap(parseCapability)]
  const dropsAll = gone.length >= ALL_CAPABILITIES.length
  const sets = [...new Set([...gaining, ...Object.keys(before)])].map((set) => {
    const gained = gaining.includes(set) ? more : []
    const all = dropsAll ? gained : [...textsAt(before, set), ...gained].filter((name) => !gone.includes(name))
    return [set, [...new Set(all)]]
  })
  return { ...process, capabilities: Object.fromEntries(sets) as JsonObject }
}

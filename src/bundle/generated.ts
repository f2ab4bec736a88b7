// A config.json of varve's own making, for what is run without one: the namespaces, mounts and rights that Docker gives.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { CAPABILITIES } from './capabilities.ts'
import type { JsonObject } from './document.ts'
import type { Says } from './image.ts'

export type Given = Pick<Says, 'process' | 'annotations'> & {
  readonly volumes: readonly Volume[]
  /** The process's `user`. */
  readonly user: JsonObject
  /** Of the container. */
  readonly name: string
}

/** A place for data, and what the image has there. */
export type Volume = {
  readonly path: string
  readonly owner: { readonly uid: number; readonly gid: number; readonly mode: number } | undefined
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export const MASKED = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
]
export const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** By https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md , in a network of its own. Throws E_CONFIG. */
export function generate({ process: run, user, annotations, volumes, name }: Given): JsonObject {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user,
      args: run.args ?? ['/bin/sh'],
      env: environment(run.env),
      cwd: run.cwd ?? '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      noNewPrivileges: false,
    },
    root: { path: 'rootfs', readonly: false },
    hostname: name,
    mounts: [...KERNEL_MOUNTS, ...volumes.map(inMemory)],
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    linux: {
      cgroupsPath: `/varve/${name}`,
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
    },
  }
}

const KERNEL_MOUNTS: readonly JsonObject[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  sharedMemory('65536k'),
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
]

/** `size` as tmpfs takes it. */
export function sharedMemory(size: string): JsonObject {
  const options = ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${size}`]
  return { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options }
}

/** What the image has there is in it to begin with; whose it is engines do not copy. */
function inMemory({ path, owner }: Volume): JsonObject {
  const own = owner && [`mode=${owner.mode.toString(8).padStart(4, '0')}`, `uid=${owner.uid}`, `gid=${owner.gid}`]
  return {
    destination: path,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'nodev', 'tmpcopyup', ...(own ?? [])],
  }
}

function environment(given: readonly string[]): string[] {
  for (const item of given) checkVariable(item)
  return given.some((item) => item.startsWith('PATH=')) ? [...given] : [DEFAULT_PATH, ...given]
}

/** Throws E_CONFIG for what is not NAME=VALUE on one line. */
export function checkVariable(item: string): void {
  if (!/^[^=\0\n]+=[^\0\n]*$/.test(item))
    throw new VarveError(
      'E_CONFIG',
      `cannot use "${escapeControls(item)}" as a variable: it is not NAME=VALUE on one line`,
      { hint: 'write for example --env LANG=C.UTF-8' },
    )
}

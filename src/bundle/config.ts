// The config.json of an OCI runtime bundle: a bundle's own with its root pointed at the new one, or a minimal valid one.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

/** What a bare root filesystem is run with. */
export type Process = {
  readonly args: readonly string[] | undefined
  /** Each NAME=VALUE. */
  readonly env: readonly string[]
  readonly cwd: string | undefined
  /** UID or UID:GID. */
  readonly user: string | undefined
}

type Json = { [key: string]: unknown }

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Docker's default set: https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities */
const CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
].map((name) => `CAP_${name}`)

/**
 * Points a bundle's config.json at the new root filesystem; all else stays as it is. `rootPath` is absolute and free of
 * symlinks: runc refuses any other once the bundle is reached through a link. Throws E_CONFIG.
 */
export function rewriteConfig(text: string, rootPath: string): string {
  let config: Json
  try {
    config = JSON.parse(text) as Json
  } catch (cause) {
    throw new VarveError('E_CONFIG', 'cannot use config.json: it is no JSON', { cause })
  }
  if (typeof config !== 'object' || config === null || typeof config['ociVersion'] !== 'string')
    throw new VarveError('E_CONFIG', 'cannot use config.json: it has no ociVersion')
  const root = config['root'] ?? {}
  if (typeof root !== 'object' || Array.isArray(root))
    throw new VarveError('E_CONFIG', 'cannot use config.json: its root is no object')
  return print({ ...config, root: { ...root, path: rootPath } })
}

/**
 * What an image is run with (https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md), less what `run` says
 * itself. Throws E_CONFIG for a user by name, which only the image's own files could tell the number of.
 */
export function imageProcess(imageConfig: string, run: Process): Process {
  const config = (JSON.parse(imageConfig) as { config?: Json } | null)?.config ?? {}
  const list = (key: string): string[] => {
    const value = config[key] ?? []
    if (!Array.isArray(value) || !value.every((word) => typeof word === 'string'))
      throw new VarveError('E_CONFIG', `cannot use the image config: its ${key} is no list of strings`)
    return value
  }
  const word = (key: string): string | undefined => {
    const value = config[key]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const args = [...list('Entrypoint'), ...list('Cmd')]
  const user = run.user ?? word('User')
  if (run.user === undefined && user !== undefined && !/^[0-9]+(:[0-9]+)?$/.test(user))
    throw new VarveError('E_CONFIG', `cannot use the user "${escapeControls(user)}" of the image: it is no number`, {
      hint: 'name it by number: --user UID:GID',
    })
  return {
    args: run.args ?? (args.length > 0 ? args : undefined),
    env: [...list('Env'), ...run.env],
    cwd: run.cwd ?? word('WorkingDir'),
    user,
  }
}

/** A config.json by https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md in the host's network. Throws E_CONFIG. */
export function minimalConfig(run: Process, hostname: string, rootPath: string): string {
  return print({
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: parseUser(run.user),
      args: command(run.args ?? ['/bin/sh']),
      env: environment(run.env),
      cwd: absolute(run.cwd ?? '/'),
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      noNewPrivileges: false,
    },
    root: { path: rootPath, readonly: false },
    hostname,
    mounts: [
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
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
      },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    ],
    linux: {
      namespaces: ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      maskedPaths: [
        '/proc/acpi',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/proc/sched_debug',
        '/proc/scsi',
        '/sys/firmware',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  })
}

function print(config: Json): string {
  return `${JSON.stringify(config, null, 2)}\n`
}

function parseUser(text: string | undefined): { uid: number; gid: number } {
  const match = /^([0-9]{1,10})(?::([0-9]{1,10}))?$/.exec(text ?? '0:0')
  const [uid, gid] = [Number(match?.[1]), Number(match?.[2] ?? 0)]
  if (match === null || uid > 4294967294 || gid > 4294967294)
    throw new VarveError('E_CONFIG', `cannot use "${escapeControls(text ?? '')}" as a user: it is no UID or UID:GID`, {
      hint: 'write numbers, e.g. --user 1000:1000',
    })
  return { uid, gid }
}

function environment(given: readonly string[]): string[] {
  for (const item of given)
    if (!/^[^=\0\n]+=[^\0\n]*$/.test(item))
      throw new VarveError(
        'E_CONFIG',
        `cannot use "${escapeControls(item)}" as a variable: it is not NAME=VALUE on one line`,
        { hint: 'write for example --env LANG=C.UTF-8' },
      )
  return given.some((item) => item.startsWith('PATH=')) ? [...given] : [DEFAULT_PATH, ...given]
}

function command(args: readonly string[]): readonly string[] {
  if (args[0] === undefined || args[0] === '' || args.some((word) => word.includes('\0')))
    throw new VarveError(
      'E_CONFIG',
      `cannot use "${escapeControls(args.join(' ').slice(0, 200))}" as the command: it is empty, or has a NUL byte`,
      { hint: 'write for example --cmd /bin/sh --cmd=-c --cmd "echo hello"' },
    )
  return args
}

/** A path in /proc may lead out of the container, however it is written: CVE-2024-21626. */
function absolute(cwd: string): string {
  const parts: string[] = []
  for (const part of cwd.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  if (!cwd.startsWith('/') || cwd.includes('\0') || parts[0] === 'proc')
    throw new VarveError(
      'E_CONFIG',
      `cannot use "${escapeControls(cwd)}" as the working directory: it is not absolute, or lies in /proc`,
      { hint: 'write for example --cwd /srv' },
    )
  return cwd
}

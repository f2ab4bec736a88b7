// What runs a container on a host, and the facts about a host that decide what a config.json may ask of it.

/** In the order in which a host's own is taken; `none` is for who starts containers by other means. */
export const ENGINES = ['runc', 'crun', 'podman', 'nspawn', 'none'] as const
export type Engine = (typeof ENGINES)[number]

/** The command of each; nothing for `none`. */
export const ENGINE_COMMANDS = { runc: 'runc', crun: 'crun', podman: 'podman', nspawn: 'systemd-nspawn' } as const

/** The network that a container is in: the host's, one of its own with nothing in it, or a namespace by its path. */
export type Network = { readonly kind: 'host' | 'none' } | { readonly kind: 'path'; readonly path: string }

export type Facts = {
  /** Unknown where nobody asked the host; then nothing is made to fit. */
  readonly cgroup: 'v1' | 'v2' | 'hybrid' | 'none' | 'unknown'
  /** As the host's version names them: blkio or io. */
  readonly controllers: ReadonlySet<string>
  readonly seccomp: boolean
  readonly apparmor: boolean
  readonly selinux: boolean
  /** Hard limits above which even root cannot go, by their names without RLIMIT_. */
  readonly limits: ReadonlyMap<string, bigint>
  /** Which of /etc/resolv.conf and /etc/hosts it has. */
  readonly files: ReadonlySet<string>
}

/** Of a host that nobody asked. */
export const UNKNOWN: Facts = {
  cgroup: 'unknown',
  controllers: new Set(),
  seccomp: true,
  apparmor: true,
  selinux: true,
  limits: new Map(),
  files: new Set(['/etc/resolv.conf', '/etc/hosts']),
}

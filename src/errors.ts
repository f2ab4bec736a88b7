// The one error class, its closed list of codes, and the exit status that each code stands for.

const STATUS = {
  E_BUG: 1,
  // the words of the command
  E_USAGE: 2,
  E_NAME: 2,
  E_HOST: 2,
  E_CONFIG: 2,
  // the source or its contents
  E_SOURCE: 3,
  E_SOURCE_UNREADABLE: 3,
  E_SOURCE_CHANGED: 3,
  E_SOURCE_GONE: 3,
  E_ENGINE: 3,
  E_DOCKER_PERM: 3,
  E_EMPTY: 3,
  E_TAR_EMPTY: 3,
  E_TAR_FORMAT: 3,
  E_TAR_TRUNC: 3,
  E_TAR_CHECKSUM: 3,
  E_TAR_TRAILING: 3,
  E_TAR_SIZE: 3,
  E_TAR_PAX: 3,
  E_TAR_LONGLINK: 3,
  E_TAR_TYPE: 3,
  E_TAR_SPARSE: 3,
  E_COMPRESSION: 3,
  E_LIMIT_BYTES: 3,
  E_LIMIT_RATIO: 3,
  E_LIMIT_ENTRIES: 3,
  E_ZSTD_WINDOW: 3,
  E_PATH_ESCAPE: 3,
  E_PATH_EMPTY: 3,
  E_PATH_ROOT: 3,
  E_PATH_LONG: 3,
  E_PATH_DEPTH: 3,
  E_PARENT_NOT_DIR: 3,
  E_DUP_TYPE: 3,
  E_HARDLINK: 3,
  E_DEVICE: 3,
  E_WHITEOUT: 3,
  E_WHITEOUT_DEV: 3,
  E_SOCKET: 3,
  E_OWNER: 3,
  E_XATTR_SIZE: 3,
  E_CAP: 3,
  E_MTIME: 3,
  E_IMAGE: 3,
  E_OCI_LAYOUT: 3,
  E_OCI_DEPTH: 3,
  E_ARCHIVE_LINK: 3,
  E_BLOB_MISSING: 3,
  E_DIGEST: 3,
  E_DIGEST_FORM: 3,
  E_MEDIA: 3,
  E_PLATFORM: 3,
  E_JSON: 3,
  E_LIMIT: 3,
  E_CONFIG_CWD: 3,
  E_CONFIG_ENV: 3,
  E_CONFIG_USER: 3,
  E_CONFIG_CMD: 3,
  E_HASH: 3,
  E_VERIFY: 3,
  E_PERSIST: 3,
  E_MANIFEST: 3,
  // the host cannot
  E_TOOL: 4,
  E_LOSS: 4,
  E_NOSPACE: 4,
  E_NOINODES: 4,
  E_ROFS: 4,
  E_IO: 4,
  E_SHELL: 4,
  E_ROOT: 4,
  E_SUDO_PASSWORD: 4,
  E_SUDO_DENIED: 4,
  E_SUDO_TTY: 4,
  E_SUDO_TIMEOUT: 4,
  E_STORE: 4,
  E_STORE_DAMAGED: 4,
  E_BASE_MISSING: 4,
  E_OVERLAY: 4,
  E_GEN: 4,
  E_NO_CONTAINER: 4,
  E_BUSY_MOUNT: 4,
  E_NO_ENGINE: 4,
  E_START: 4,
  E_RUNNING: 4,
  E_NOT_RUNNING: 4,
  E_PORT: 4,
  // the connection
  E_CONNECT: 5,
  E_AUTH: 5,
  E_KEY: 5,
  E_HOSTKEY_UNKNOWN: 5,
  E_HOSTKEY_CHANGED: 5,
  E_HOSTKEY_REVOKED: 5,
  E_KNOWN_HOSTS: 5,
  E_TIMEOUT: 5,
  E_LOST: 5,
  E_PROTO: 5,
  E_REGISTRY: 5,
  E_REGISTRY_AUTH: 5,
  // somebody else
  E_LOCKED: 6,
  E_CONFLICT: 6,
  // what ran before runs again
  E_HEALTH: 7,
  E_INTERRUPTED: 130,
} as const satisfies Record<string, number>

/** A stable name for what went wrong; scripts may rely on it. */
export type ErrorCode = keyof typeof STATUS

/** The exit status of the command for each code. */
export const exitStatus: Readonly<Record<ErrorCode, number>> = STATUS

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(STATUS, text)
}

/**
 * Everything that varve throws on purpose. `message` says the action that failed, a colon and the present state;
 * `hint` is the command to run or the thing to change. Both are made of bytes that are safe at a terminal.
 */
export class VarveError extends Error {
  override readonly name = 'VarveError'
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
  }
}

/** What a `catch` may know of a thrown value without looking at its class. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export function hasCode(error: unknown, code: ErrorCode): error is VarveError {
  return error instanceof VarveError && error.code === code
}

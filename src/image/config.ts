// The config of an image: what it was made for, its layers' digests, and what an engine would run.
import { posix } from 'node:path'
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { asList, asObject, asOptionalText, asTexts, parseObject, type JsonObject } from './json.ts'
import { parseDigest, parsePlatformObject, type Digest } from './manifest.ts'
import type { Platform } from './platform.ts'

export type ImageConfig = {
  readonly text: string
  readonly platform: Platform
  /** Of the uncompressed layers, bottom first. */
  readonly diffIds: readonly Digest[]
  /** The command that made each layer, safe at a terminal; undefined where the history does not tell it. */
  readonly commands: readonly (string | undefined)[]
}

const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/
const LONGEST_COMMAND = 4096

/**
 * https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md Throws E_JSON, E_DIGEST_FORM, E_PLATFORM, and
 * E_CONFIG_CWD, E_CONFIG_ENV, E_CONFIG_USER, E_CONFIG_CMD for what no engine should be given.
 */
export function parseConfig(bytes: Uint8Array, what: string): ImageConfig {
  const json = parseObject(bytes, what)
  const platform = parsePlatformObject(json, what)
  if (platform === undefined)
    throw new VarveError('E_PLATFORM', `cannot use ${what}: it does not say what machine the image is for`)
  const rootfs = asObject(json['rootfs'], `rootfs in ${what}`)
  const diffIds = asList(rootfs['diff_ids'], `diff_ids in ${what}`).map((id) => parseDigest(id, `a layer in ${what}`))
  if (json['config'] !== undefined && json['config'] !== null) checkProcess(asObject(json['config'], what), what)
  const commands = commandsOf(json['history'], diffIds.length, what)
  return { text: Buffer.from(bytes).toString('utf8'), platform, diffIds, commands }
}

function checkProcess(config: JsonObject, what: string): void {
  const directory = asOptionalText(config['WorkingDir'], `WorkingDir in ${what}`)
  if (directory !== undefined && !/^\/+(?!proc(?:\/|$))[^\0]*$/.test(posix.normalize(directory)))
    throw refused('E_CONFIG_CWD', what, `its working directory "${shown(directory)}" is relative or below /proc`)
  for (const variable of asTexts(config['Env'], `Env in ${what}`))
    if (!/^[^=\n\0]+=[^\n\0]*$/.test(variable))
      throw refused(
        'E_CONFIG_ENV',
        what,
        `its environment has "${shown(variable)}", which is not NAME=VALUE on one line`,
      )
  const user = asOptionalText(config['User'], `User in ${what}`)
  if (user !== undefined && !USER.test(user))
    throw refused('E_CONFIG_USER', what, `its user "${shown(user)}" is not USER or USER:GROUP`)
  for (const key of ['Entrypoint', 'Cmd'])
    if (asTexts(config[key], `${key} in ${what}`)[0] === '')
      throw refused('E_CONFIG_CMD', what, `its ${key} begins with an empty word`)
}

/** A history that does not count the layers as they are tells nothing of them. */
function commandsOf(history: unknown, layers: number, what: string): (string | undefined)[] {
  const items = asList(history, `history in ${what}`).map((item) => asObject(item, `history in ${what}`))
  const made = items.filter((item) => item['empty_layer'] !== true)
  if (made.length !== layers) return Array.from({ length: layers }, () => undefined)
  return made.map((item) => {
    const command = asOptionalText(item['created_by'], `history in ${what}`)
    return command === undefined ? undefined : escapeControls(command.slice(0, LONGEST_COMMAND))
  })
}

function refused(
  code: 'E_CONFIG_CWD' | 'E_CONFIG_ENV' | 'E_CONFIG_USER' | 'E_CONFIG_CMD',
  what: string,
  why: string,
): VarveError {
  return new VarveError(code, `cannot use ${what}: ${why}`)
}

function shown(text: string): string {
  return escapeControls(text.slice(0, 120))
}

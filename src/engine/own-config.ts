// The config.json by which an engine runs a container: it stands where its shim does, for as long as the container runs.
import { readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { asObject, type JsonObject } from '../image/json.ts'

export type OwnConfig = {
  readonly text: string
  /** Where it was read. */
  readonly path: string
}

const LARGEST = 8 << 20

/**
 * The parent of a container's first process is its shim: containerd's has the bundle as its working directory, whatever the
 * engine's directories are called, and Podman's (conmon) is told of it. Undefined where the container does not run, where
 * the engine runs in other namespaces than this process, or where this user may not see it.
 */
export async function ownConfig(container: JsonObject): Promise<OwnConfig | undefined> {
  const { Id: id, State: state } = container
  const pid = asObject(state ?? {}, 'the state')['Pid']
  if (typeof id !== 'string' || typeof pid !== 'number' || !Number.isInteger(pid) || pid <= 1) return undefined
  const shim = /^PPid:\t([0-9]+)$/m.exec(await textOf(`/proc/${pid}/status`))?.[1]
  if (shim === undefined || shim === '0') return undefined
  const told = toldOf(await textOf(`/proc/${shim}/cmdline`))
  const stands = await readlink(`/proc/${shim}/cwd`).catch(() => undefined)
  for (const bundle of [told, stands]) {
    // another process may have the number by now
    if (bundle === undefined || !bundle.split('/').includes(id)) continue
    const path = join(bundle, 'config.json')
    const text = await textOf(path)
    if (text !== '' && text.length <= LARGEST) return { text, path }
  }
  return undefined
}

function toldOf(commandLine: string): string | undefined {
  const words = commandLine.split('\0')
  return words[words.findIndex((word) => word === '-b' || word === '--bundle') + 1 || words.length]
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}

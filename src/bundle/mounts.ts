// Mounts whose source is on the machine that a config.json came from: an engine's own files, its volumes, paths of that machine.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'
import { keepsVolume } from '../model/service.ts'
import { objectsAt, put, textAt, textsAt, type JsonObject } from './document.ts'
import { sharedMemory } from './generated.ts'
import type { Around } from './rewrites.ts'

/** What Docker, Podman, containerd and nerdctl keep for one container and mount into it. */
const ENGINE_FILE =
  /\/(?:(?:overlay-|vfs-|btrfs-)?containers|etchosts|io\.containerd\.grpc\.v1\.cri\/sandboxes)\/(?:[\w-]+\/)?[0-9a-f]{64}\//
const VOLUME = /\/volumes\/([^/]+)\/_data(?:\/|$)/
/** Of every Linux machine alike. */
const KERNEL = /^\/(?:dev|proc|sys)(?:\/|$)/
/** Those that a network needs. Of the host, where the container is in a network of the host. */
const OF_HOST = ['/etc/resolv.conf', '/etc/hosts']

/**
 * Docker and Podman write resolv.conf and hosts for each container, and an exported tree has them empty; on a bare host its
 * own do. What has no use there goes, and shared memory is memory.
 */
export function withoutEngineFiles(config: JsonObject, around: Around): JsonObject {
  const mounts = objectsAt(config, 'mounts')
  const hasOwn = (file: string): boolean => around.network.kind !== 'none' && around.facts.files.has(file)
  const isOfEngine = (mount: JsonObject): boolean => isBind(mount) && ENGINE_FILE.test(textAt(mount, 'source') ?? '')
  const kept = mounts.flatMap((mount) => {
    const destination = textAt(mount, 'destination') ?? ''
    if (!isOfEngine(mount)) return [mount]
    if (destination === '/dev/shm') return [sharedMemory('65536k')]
    return OF_HOST.includes(destination) && hasOwn(destination) ? [ofHost(destination)] : []
  })
  const there = new Set(kept.map((mount) => textAt(mount, 'destination')))
  // an engine gives no resolv.conf to who has no network there
  const more =
    around.made || mounts.some(isOfEngine) ? OF_HOST.filter((file) => hasOwn(file) && !there.has(file)).map(ofHost) : []
  return mounts.length + more.length === 0 ? config : put(config, ['mounts'], [...kept, ...more])
}

function ofHost(destination: string): JsonObject {
  return { destination, type: 'bind', source: destination, options: ['rbind', 'ro'] }
}

/** What is no file of the engine's is the operator's: nothing of it goes in silence. Throws E_CONFIG. */
export function withoutLocalBinds(config: JsonObject, around: Around): JsonObject {
  const refused: { readonly destination: string; readonly what: string }[] = []
  const kept = objectsAt(config, 'mounts').filter((mount) => {
    const [destination, source] = [placeOf(mount), textAt(mount, 'source') ?? '']
    if (around.covered.has(destination)) return false
    if (!isBind(mount) || ENGINE_FILE.test(source)) return true
    const volume = around.volumes.get(destination) ?? VOLUME.exec(source)?.[1]
    if (volume !== undefined) refused.push({ destination, what: `volume ${volume}` })
    else if (around.foreign && !KERNEL.test(source)) refused.push({ destination, what: source })
    return true
  })
  if (refused.length > 0) throw refusal(refused, around)
  return kept.length === objectsAt(config, 'mounts').length ? config : put(config, ['mounts'], kept)
}

function refusal(
  refused: readonly { readonly destination: string; readonly what: string }[],
  { container }: Around,
): VarveError {
  const list = refused.map(({ destination, what }) => `${shown(destination)} (${shown(what)})`).join(', ')
  const fix = refused.map(({ destination, what }) => {
    const place = `/srv/${container}${shown(destination)}`
    return what.startsWith('volume ') ? keepsVolume(destination, place) : `--mount ${place}:${shown(destination)}`
  })
  return new VarveError(
    'E_CONFIG',
    `cannot mount what is on the machine that the container comes from, not on the host: ${list}`,
    {
      hint: `give it a place there: ${fix.join(' ')} (--mount none:${shown(refused[0]?.destination ?? '')} for no mount)`,
    },
  )
}

/** The init that `--init` puts before the command is a program of the local engine. */
export function withoutEngineInit(config: JsonObject): JsonObject {
  const init = /^\/(?:sbin\/docker-init|dev\/init|run\/podman-init)$/
  const [first = '', second, ...rest] = textsAt(config, 'process', 'args')
  const kept = objectsAt(config, 'mounts').filter(
    (mount) => !(isBind(mount) && init.test(textAt(mount, 'destination') ?? '')),
  )
  if (kept.length === objectsAt(config, 'mounts').length || !init.test(first) || second !== '--') return config
  return put(put(config, ['mounts'], kept), ['process', 'args'], rest)
}

/** Where it is, without a slash at the end. */
export function placeOf(mount: JsonObject): string {
  return (textAt(mount, 'destination') ?? '').replace(/(?<=.)\/+$/, '')
}

export function isBind(mount: JsonObject): boolean {
  return mount['type'] === 'bind' || textsAt(mount, 'options').some((option) => option === 'bind' || option === 'rbind')
}

function shown(text: string): string {
  return escapeControls(text.slice(0, 200))
}

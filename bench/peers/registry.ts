// A registry: the host pulls, with skopeo, one layer that holds just the changes, and unpacks it.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { copy, startRegistry } from '../../test/image/registries.ts'
import { finished } from '../measure.ts'
import type { Pair } from '../pair.ts'
import type { Peer } from '../peer.ts'
import { give, inHost } from '../tools.ts'

export const registry: Peer = {
  name: 'registry',
  title: 'registry, diff layer',
  note: 'a layer of just the changes, zstd -19, made and pushed before the clock starts; skopeo pulls it without SSH or TLS, tar unpacks it',
  packages: ['skopeo', 'docker-registry'],
  async prepare({ pair, host, work, atEnd }) {
    await give(host, ['skopeo'])
    const base = await layerOf(work, `tar -C ${pair.old} -c . `, 'zstd -1 -T0 -qc')
    const changes = await layerOf(work, diff(pair, work), 'zstd -19 -T0 -qc')
    const layout = `${work}/layout`
    const images = { old: [base], new: [base, changes] }
    const server = await startRegistry(`${work}/registry`, 'open')
    atEnd.push(server)
    const port = Number(server.host.split(':')[1])
    for (const [tag, layers] of Object.entries(images)) writeImage(layout, tag, layers)
    for (const tag of ['old', 'new']) copy(`oci:${layout}:${tag}`, `docker://${server.host}/app:${tag}`)
    await inHost(host, 'mkdir -p /srv/layouts')
    await finished(`skopeo --insecure-policy copy -q oci:${layout}:old oci:${work}/old:old && cp -a ${work}/old ${host.path('/srv/layouts')}/`) // prettier-ignore
    return {
      reset: () => inHost(host, 'cd /srv/layouts && rm -rf new layer && cp -a old new && mkdir layer'),
      async run(wire) {
        const at = await wire.toSender(port)
        await inHost(
          host,
          `cd /srv/layouts && skopeo --insecure-policy copy -q --src-tls-verify=false docker://${at.host}:${at.port}/app:new oci:new:new &&
            zstd -dqc new/blobs/sha256/${changes.digest} | tar -x -C layer`,
        )
      },
    }
  },
}

/** What an engine would put into a layer: all that differs, and a whiteout for all that is gone. */
function diff(pair: Pair, work: string): string {
  const list = (tree: string): string => `cd ${tree} && find . | LC_ALL=C sort`
  return `rsync -aHAX --numeric-ids --compare-dest=${pair.old} ${pair.new}/ ${work}/diff/ >&2
    while read -r gone; do
      [ -e "${pair.new}/\${gone%/*}" ] && mkdir -p "${work}/diff/\${gone%/*}" && : >"${work}/diff/\${gone%/*}/.wh.\${gone##*/}"
    done < <(LC_ALL=C comm -23 <(${list(pair.old)}) <(${list(pair.new)}))
    find ${work}/diff -depth -type d -empty -printf '%P\\n' | while read -r path; do
      [ ! -d "${pair.old}/$path" ] || rmdir "${work}/diff/$path"
    done
    mkdir -p ${work}/diff && tar -C ${work}/diff -c . `
}

type Blob = { readonly digest: string; readonly diffId: string; readonly size: number }

async function layerOf(work: string, archive: string, compress: string): Promise<Blob> {
  const blobs = join(work, 'layout/blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const diffId = await finished(
    `{ ${archive}; } | tee >(sha256sum >${work}/id) | ${compress} >${work}/blob; cat ${work}/id`,
  )
  return { ...put(blobs, readFileSync(`${work}/blob`)), diffId: diffId.slice(0, 64) }
}

function put(blobs: string, bytes: Buffer): { digest: string; size: number } {
  const digest = createHash('sha256').update(bytes).digest('hex')
  writeFileSync(join(blobs, 'partial'), bytes)
  renameSync(join(blobs, 'partial'), join(blobs, digest))
  return { digest, size: statSync(join(blobs, digest)).size }
}

function writeImage(layout: string, tag: string, layers: readonly Blob[]): void {
  const kind = 'application/vnd.oci.image'
  const blob = (bytes: string): { digest: string; size: number } => {
    const { digest, size } = put(join(layout, 'blobs/sha256'), Buffer.from(bytes))
    return { digest: `sha256:${digest}`, size }
  }
  const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => `sha256:${diffId}`) }
  const config = blob(JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs }))
  const manifest = blob(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${kind}.manifest.v1+json`,
      config: { mediaType: `${kind}.config.v1+json`, ...config },
      layers: layers.map(({ digest, size }) => ({ mediaType: `${kind}.layer.v1.tar+zstd`, digest: `sha256:${digest}`, size })), // prettier-ignore
    }),
  )
  const index = join(layout, 'index.json')
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  let manifests: unknown[] = []
  try {
    manifests = (JSON.parse(readFileSync(index, 'utf8')) as { manifests: unknown[] }).manifests
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  manifests.push({ mediaType: `${kind}.manifest.v1+json`, ...manifest, annotations: { 'org.opencontainers.image.ref.name': tag } }) // prettier-ignore
  writeFileSync(index, JSON.stringify({ schemaVersion: 2, manifests }))
}

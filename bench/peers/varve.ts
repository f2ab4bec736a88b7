// varve itself: a host with all tools, one without zstd, perl and python3, and a sender that has lost what it knew.
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { startHost, type Host } from '../../test/fixture/host.ts'
import { varveData } from '../../test/fixture/varve.ts'
import { openManifest } from '../../src/store/manifest.ts'
import { finished } from '../measure.ts'
import type { Pair } from '../pair.ts'
import type { Peer, Place, Redeploy } from '../peer.ts'
import { inHost } from '../tools.ts'

export const varve: Peer = {
  name: 'varve',
  title: 'varve',
  note: 'varve push rootfs:NEW',
  packages: [],
  adapts: true,
  prepare: (place) => prepare(place, 'kept'),
}

export const varveBareHost: Peer = {
  name: 'varve-bare-host',
  title: 'varve, bare host',
  note: 'the host has neither zstd nor perl nor python3',
  packages: [],
  adapts: true,
  host: { strip: ['zstd', 'perl', 'python3'] },
  prepare: (place) => prepare(place, 'kept'),
}

export const varveEmptyCache: Peer = {
  name: 'varve-empty-cache',
  title: 'varve, empty cache',
  note: 'the state directory is lost before the second push',
  packages: [],
  adapts: true,
  prepare: (place) => prepare(place, 'lost'),
}

/** Bytes a second: what a first push through loopback notes. */
const LOOPBACK = 100e6
const UNMOUNT = `awk '$2 ~ "^/var/lib/varve/" { print $2 }' /proc/self/mounts | while read -r at; do umount "$at"; done`
const TAR = `tar --xattrs --xattrs-include='*' --numeric-owner`

async function prepare({ pair, host, shared, work }: Place, cache: 'kept' | 'lost'): Promise<Redeploy> {
  const first = join(shared, 'varve')
  if (!existsSync(first)) await firstPush(pair, first)
  const state = join(work, 'state')
  return {
    async reset(link) {
      await inHost(host, `${UNMOUNT}; rm -rf /var/lib/varve/* /var/lib/machines`)
      await finished(`${TAR} -xf ${first}/store.tar -C ${host.path('/var/lib')} && rm -rf ${state}`)
      // the host knows of its files what it knows after a push: the archive gave them other inodes
      await varveData(['verify', host.alias, '-F', host.sshConfig, '--state-dir', join(work, 'aside')])
      if (cache === 'lost') return
      await finished(`cp -a ${first}/state ${state}`)
      using manifest = openManifest(state)
      manifest.uploads.keepRate(host.alias, Math.min(link.bytesPerSecond, LOOPBACK))
    },
    async run(wire) {
      await push(host, pair.new, { container: pair.beside ? 'new' : 'old', state, sshConfig: await wire.ssh() })
    },
  }
}

/** Once a pair: a host without a compressor takes it fastest, and its store is the same. */
async function firstPush(pair: Pair, directory: string): Promise<void> {
  await using host = await startHost({ become: 'root', strip: ['zstd', 'xz', 'gzip'] })
  const state = join(`${directory}.partial`, 'state')
  mkdirSync(`${directory}.partial`)
  await push(host, pair.old, { container: 'old', state, sshConfig: host.sshConfig })
  await inHost(host, UNMOUNT)
  await finished(`${TAR} -cf ${directory}.partial/store.tar -C ${host.path('/var/lib')} varve machines`)
  renameSync(`${directory}.partial`, directory)
}

async function push(
  host: Host,
  tree: string,
  { container, state, sshConfig }: { container: string; state: string; sshConfig: string },
): Promise<void> {
  await varveData(['push', `rootfs:${tree}`, `${host.alias}:${container}`, '-F', sshConfig, '--state-dir', state])
}

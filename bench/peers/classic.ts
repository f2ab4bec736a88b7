// The classic script: the whole tree as a compressed archive over SSH, unpacked beside the old one.
import { finished } from '../measure.ts'
import type { Peer } from '../peer.ts'
import { inHost } from '../tools.ts'

export const classicGzip: Peer = classic('gzip', 'gzip -c', 'gzip -dc')
export const classicZstd: Peer = classic('zstd', 'zstd -19 -T0 -qc', 'zstd -dqc')

function classic(name: string, compress: string, decompress: string): Peer {
  return {
    name: `classic-${name}`,
    title: `tar | ${name}`,
    note: `tar -c . | ${compress} | ssh HOST '${decompress} | tar -x'`,
    packages: ['zstd'],
    prepare: ({ pair, host }) =>
      Promise.resolve({
        reset: () => inHost(host, 'rm -rf /srv/new && mkdir /srv/new'),
        async run(wire) {
          const ssh = `ssh -F ${await wire.ssh()} ${host.alias}`
          await finished(`tar -C ${pair.new} -c . | ${compress} | ${ssh} '${decompress} | tar -x -C /srv/new'`)
        },
      }),
  }
}

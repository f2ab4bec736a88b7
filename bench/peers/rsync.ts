// rsync with its best options, root on both sides.
import type { Peer, Place, Redeploy } from '../peer.ts'
import { finished } from '../measure.ts'
import { give, inHost } from '../tools.ts'

const best = '-aHAX --numeric-ids --delete -z --zc=zstd --zl=19'

export const rsync: Peer = {
  name: 'rsync',
  title: 'rsync',
  note: `rsync ${best}`,
  packages: ['rsync'],
  prepare: (place) => prepare(place, best),
}

export const rsyncChecksum: Peer = {
  name: 'rsync-c',
  title: 'rsync -c',
  note: `rsync ${best} --checksum`,
  packages: ['rsync'],
  prepare: (place) => prepare(place, `${best} --checksum`),
}

async function prepare({ pair, host }: Place, options: string): Promise<Redeploy> {
  await give(host, ['rsync'])
  await finished(`cp -a ${pair.old} ${host.path('/srv/old')}`)
  const beside = pair.beside ? '--link-dest=/srv/old' : ''
  return {
    reset: () => inHost(host, `rm -rf /srv/new; ${pair.beside ? '' : 'cp -a /srv/old /srv/new'}`),
    async run(wire) {
      await finished(`rsync ${options} ${beside} -e 'ssh -F ${await wire.ssh()}' ${pair.new}/ ${host.alias}:/srv/new/`)
    },
  }
}

// The reference for whole archives: sender and host keep the old one, and one zstd patch of it is sent.
import { finished } from '../measure.ts'
import type { Peer } from '../peer.ts'
import { inHost } from '../tools.ts'

const TAR = 'tar -c --sort=name'

export const patchFrom: Peer = {
  name: 'patch-from',
  title: 'tar | zstd --patch-from',
  note: 'zstd -19 --long=31 --patch-from OLD.tar NEW.tar; both sides keep OLD.tar',
  packages: ['zstd'],
  async prepare({ pair, host, work }) {
    const old = `${work}/old.tar`
    await finished(`${TAR} -C ${pair.old} -f ${old} . && cp ${old} ${host.path('/srv/old.tar')}`)
    return {
      reset: () => inHost(host, 'rm -rf /srv/new && mkdir /srv/new'),
      async run(wire) {
        const ssh = `ssh -F ${await wire.ssh()} ${host.alias}`
        await finished(
          `${TAR} -C ${pair.new} -f ${work}/new.tar . && zstd -19 --long=31 -T0 -qc --patch-from=${old} ${work}/new.tar |
            ${ssh} 'zstd -dqc --long=31 --patch-from=/srv/old.tar | tar -x -C /srv/new'`,
        )
      },
    }
  },
}

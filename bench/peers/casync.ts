// casync pushes the chunks that the host's store lacks, and the host makes the tree of them.
import { chmodSync, writeFileSync } from 'node:fs'
import { finished } from '../measure.ts'
import type { Peer } from '../peer.ts'
import { give, inHost } from '../tools.ts'

export const casync: Peer = {
  name: 'casync',
  title: 'casync',
  note: 'casync make --chunk-size=16384 HOST:NEW.caidx, then casync extract there',
  packages: ['casync'],
  async prepare({ pair, host, work }) {
    await give(host, ['casync'])
    const make = (sshConfig: string, name: string, tree: string): Promise<string> => {
      const ssh = `${work}/ssh`
      writeFileSync(ssh, `#!/bin/sh\nexec ssh -F ${sshConfig} "$@"\n`)
      chmodSync(ssh, 0o755)
      const at = `${host.alias}:/srv/casync/${name}.caidx`
      return finished(`casync make --chunk-size=16384 ${at} ${tree}`, { CASYNC_SSH_PATH: ssh })
    }
    await inHost(host, 'mkdir /srv/casync')
    await make(host.sshConfig, 'old', pair.old)
    await inHost(host, 'cp -a /srv/casync /srv/casync.old')
    return {
      reset: () => inHost(host, 'rm -rf /srv/casync /srv/new; cp -a /srv/casync.old /srv/casync; mkdir /srv/new'),
      async run(wire) {
        const sshConfig = await wire.ssh()
        await make(sshConfig, 'new', pair.new)
        await finished(`ssh -F ${sshConfig} ${host.alias} casync extract /srv/casync/new.caidx /srv/new`)
      },
    }
  },
}

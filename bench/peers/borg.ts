// borg makes an archive in a repository on the host, and the host extracts it.
import { finished } from '../measure.ts'
import type { Peer } from '../peer.ts'
import { give, inHost } from '../tools.ts'

const SURE = 'BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes'

export const borg: Peer = {
  name: 'borg',
  title: 'borg',
  note: 'borg create --compression zstd,19 ssh://HOST/REPO::new ., then borg extract there',
  packages: ['borgbackup'],
  async prepare({ pair, host, work }) {
    await give(host, ['borgbackup'])
    const repository = `ssh://${host.alias}/srv/borg`
    const create = (sshConfig: string, tree: string, name: string): Promise<string> =>
      finished(
        `cd ${tree} && ${SURE} BORG_BASE_DIR=${work}/borg BORG_RSH='ssh -F ${sshConfig}' borg create --numeric-ids --compression zstd,19 ${repository}::${name} .`,
      )
    await finished(`BORG_BASE_DIR=${work}/borg BORG_RSH='ssh -F ${host.sshConfig}' borg init -e none ${repository}`)
    await create(host.sshConfig, pair.old, 'old')
    await inHost(host, 'cp -a /srv/borg /srv/borg.old')
    await finished(`cp -a ${work}/borg ${work}/borg.old`)
    return {
      async reset() {
        await inHost(host, 'rm -rf /srv/borg /srv/new /root/.cache/borg /root/.config/borg; cp -a /srv/borg.old /srv/borg; mkdir /srv/new') // prettier-ignore
        await finished(`rm -rf ${work}/borg && cp -a ${work}/borg.old ${work}/borg`)
      },
      async run(wire) {
        const sshConfig = await wire.ssh()
        await create(sshConfig, pair.new, 'new')
        await finished(`ssh -F ${sshConfig} ${host.alias} 'cd /srv/new && ${SURE} borg extract /srv/borg::new'`)
      },
    }
  },
}

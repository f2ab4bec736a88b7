// ostree: the static delta between two commits, over SSH, applied by the host to its repository.
import { finished } from '../measure.ts'
import type { Peer } from '../peer.ts'
import { give, inHost } from '../tools.ts'

export const ostree: Peer = {
  name: 'ostree',
  title: 'ostree static delta',
  note: 'made before the clock starts; ssh HOST ostree static-delta apply-offline, then ostree checkout; mtimes and device nodes are lost',
  packages: ['ostree'],
  async prepare({ pair, host, work }) {
    await give(host, ['ostree'])
    const repo = `--repo=${work}/repo`
    const commit = async (tree: string): Promise<string> => {
      // it knows no device nodes
      await finished(`rsync -aHAX --numeric-ids --no-D --delete ${tree}/ ${work}/tree/`)
      return (await finished(`ostree commit ${repo} --branch=app --tree=dir=${work}/tree`)).trim()
    }
    await finished(`ostree init ${repo} --mode=archive`)
    const old = await commit(pair.old)
    await inHost(host, 'ostree init --repo=/srv/repo.old --mode=bare')
    await finished(`ostree pull-local --repo=${host.path('/srv/repo.old')} ${work}/repo app`)
    const next = await commit(pair.new)
    await finished(`ostree static-delta generate ${repo} --from=${old} --to=${next} --max-chunk-size=512 --inline --filename=${work}/delta`) // prettier-ignore
    return {
      reset: () => inHost(host, 'rm -rf /srv/repo /srv/new; cp -a /srv/repo.old /srv/repo'),
      async run(wire) {
        const apply = `cat >/srv/delta && ostree static-delta apply-offline --repo=/srv/repo /srv/delta && ostree checkout --repo=/srv/repo ${next} /srv/new`
        await finished(`ssh -F ${await wire.ssh()} ${host.alias} '${apply}' <${work}/delta`)
      },
    }
  },
}

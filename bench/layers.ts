// Images layer by layer: what a second container, a rebuilt base and a flat export cost over SSH, and how fast images are read.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Report } from '../src/verbs/report.ts'
import { startDockerd, type Engine } from '../test/fixture/dockerd.ts'
import { startHost, type Host } from '../test/fixture/host.ts'
import { baseTrees } from '../test/fixture/trees.ts'
import { makeImage } from '../test/fixture/umoci.ts'
import { varveData } from '../test/fixture/varve.ts'
import { median, row, timed } from './measure.ts'

const bin = join(import.meta.dirname, '../bin/varve.js')

type Bench = { readonly host: Host; readonly engine: Engine; readonly work: string }

export async function layers(): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'varve-bench-'))
  await using host = await startHost({ become: 'root', store: 'ext4:1500M' })
  await using engine = await startDockerd()
  const bench = { host, engine, work }
  try {
    makeImages(bench)
    await sessions(bench)
    await plans(bench)
    await readings(bench)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** app1 to app5 differ in a top layer of 1 MB; `rebuilt` is app1 with other times; `large` is one layer of two Debian trees. */
function makeImages({ work, engine }: Bench): void {
  const layout = join(work, 'layout')
  const { rootfsDebian } = baseTrees()
  mkdirSync(join(work, 'base')) // engines write layers and exports with whole seconds
  timed(`tar -C ${rootfsDebian} -c --format=gnu . | tar -C ${work}/base -xp --numeric-owner`)
  makeImage(layout, 'base', { layers: [join(work, 'base')] })
  for (const number of [1, 2, 3, 4, 5]) {
    mkdirSync(join(work, `top${number}/srv`), { recursive: true })
    writeFileSync(join(work, `top${number}/srv/app`), randomBytes(1_000_000))
    makeImage(layout, `app${number}`, { from: 'base', layers: [join(work, `top${number}`)], command: ['/bin/sh'] })
  }
  timed(`cp -a ${work}/base ${work}/later; find ${work}/later -exec touch -h -d @1700000000 {} +`)
  makeImage(layout, 'rebuilt', { layers: [join(work, 'later'), join(work, 'top1')] })
  mkdirSync(join(work, 'large'))
  timed(`cp -al ${work}/later ${work}/large/a; cp -a ${work}/base ${work}/large/b`)
  makeImage(layout, 'large', { layers: [join(work, 'large')], command: ['/bin/sh'] })
  for (const tag of ['app1', 'large'])
    timed(`skopeo --insecure-policy copy -q oci:${layout}:${tag} docker-archive:${work}/${tag}.tar:${tag}:latest`)
  for (const tag of ['app1', 'large']) engine.docker('load', '-q', '-i', `${work}/${tag}.tar`)
}

async function sessions({ host, engine, work }: Bench): Promise<void> {
  const push = (source: string, container: string): Promise<Report> =>
    varveData<Report>([
      'push',
      source,
      `${host.alias}:${container}`,
      '-F',
      host.sshConfig,
      '--state-dir',
      `${work}/state`,
    ])
  const occupied = async (): Promise<number> =>
    Number((await host.exec('sync; du -sxB1 /var/lib/varve/tree | cut -f1')).stdout.toString())
  const tell = (name: string, { bytes, layers, roundTrips, seconds }: Report): void => {
    const own = layers.reduce((sum, { delta }) => sum + delta, 0)
    row(name, bytes.sent + bytes.received, own, bytes.sent + bytes.received - own, roundTrips, seconds.total.toFixed(2))
  }
  process.stdout.write('\nimages over SSH, Debian minbase and a top layer of 1 MB; bytes of the session, both ways\n')
  row('', 'bytes', 'its layers', 'besides', 'round trips', 'seconds')
  tell('first container', await push(`oci:${work}/layout:app1`, 'app1'))
  const one = await occupied()
  tell('second container on the base', await push(`oci:${work}/layout:app2`, 'app2'))
  for (const number of [3, 4, 5]) await push(`oci:${work}/layout:app${number}`, `app${number}`)
  const five = await occupied()
  tell('an image that is deployed, as another', await push(`oci:${work}/layout:app1`, 'again'))
  engine.docker('create', '--name', 'changed', 'app1')
  writeFileSync(join(work, 'conf'), 'changed\n')
  engine.docker('cp', join(work, 'conf'), 'changed:/etc/debconf.conf')
  engine.docker('export', '-o', join(work, 'export.tar'), 'changed')
  tell('docker export, one file changed', await push(`tar:${work}/export.tar`, 'flat'))
  const shared = await host.exec(
    'cd /var/lib/machines && stat -c %i app1/rootfs/bin/bash flat/rootfs/bin/bash | uniq | wc -l',
  )
  tell('the base rebuilt with other times', await push(`oci:${work}/layout:rebuilt`, 'rebuilt'))
  row('inodes of /bin/bash in app1 and in the export', shared.stdout.toString().trim())
  row('disk, one container', one)
  row('disk, five containers', five)
  row('disk, 1.1 x one and the five top layers', Math.round(1.1 * one + 5_000_000))
}

/** Wall time of whole commands: a plan of an image that Docker holds and the host knows, beside what the script exports. */
async function plans({ engine, work }: Bench): Promise<void> {
  const env = { DOCKER_HOST: `unix://${engine.socket}` }
  const options = ['--store', `${work}/store`, '--bundle-dir', `${work}/bundles`, '--state-dir', `${work}/local`]
  process.stdout.write('\nDocker holds it, all layers are known; seconds (median of 5)\n')
  row('', 'varve plan', 'docker export')
  for (const tag of ['app1', 'large']) {
    await varveData(['push', `docker-daemon:${tag}`, 'local:bench', ...options], { env })
    const command = `node ${bin} plan docker-daemon:${tag} local:bench ${options.join(' ')}`
    const ours = Array.from({ length: 5 }, () => timed(command, env).seconds)
    engine.docker('create', '--name', `exported-${tag}`, tag)
    const theirs = Array.from({ length: 5 }, () => timed(`docker export exported-${tag} >${work}/out.tar`, env).seconds)
    row(`${tag}, ${(Number(timed(`stat -c %s ${work}/out.tar`).stdout) / 1e6).toFixed(0)} MB`, median(ours).toFixed(2), median(theirs).toFixed(2)) // prettier-ignore
  }
  await varveData(['rm', 'local:bench', ...options])
}

/** A layer read for the first time, beside tar and sha256sum of the same bytes, one after the other. */
async function readings({ work }: Bench): Promise<void> {
  const layer = `${work}/layer.tar`
  timed(
    `tar -xOf ${work}/large.tar "$(tar -xOf ${work}/large.tar manifest.json | grep -o '[0-9a-f]*\\.tar')" >${layer}`,
  )
  const bytes = Number(timed(`stat -c %s ${layer}`).stdout)
  const options = ['--store', `${work}/store2`, '--bundle-dir', `${work}/bundles2`]
  const [ours, theirs]: number[][] = [[], []]
  for (let i = 0; i < 5; i++) {
    const state = `${work}/fresh${i}`
    const { report } = await varveData<{ report: Report }>([
      'plan',
      `docker-archive:${work}/large.tar`,
      'local:bench',
      ...options,
      '--state-dir',
      state,
    ])
    ours?.push(report.seconds.scan)
    theirs?.push(timed(`tar -tf ${layer} >/dev/null; sha256sum ${layer} >/dev/null`).seconds)
  }
  const rate = (seconds: readonly number[] = []): string => (bytes / 1e6 / median(seconds)).toFixed(0)
  process.stdout.write(
    `\nan image of one layer of ${(bytes / 1e6).toFixed(0)} MB, read for the first time; MB/s (median of 5)\n`,
  )
  row('varve, reading and hashing', rate(ours))
  row('tar t, and sha256sum', rate(theirs))
}

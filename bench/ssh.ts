// Bytes of whole SSH sessions, both ways, counted by a proxy: varve beside rsync and the classic script.
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Report } from '../src/verbs/report.ts'
import { startHost, type Host } from '../test/fixture/host.ts'
import { startProxy } from '../test/fixture/proxy.ts'
import { baseTrees } from '../test/fixture/trees.ts'
import { varveData } from '../test/fixture/varve.ts'
import { row, timed } from './measure.ts'
import { promisify } from 'node:util'
import { exec, execFileSync } from 'node:child_process'

export async function ssh(): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'varve-bench-'))
  await using host = await startHost({ become: 'root' })
  try {
    timed(`cp -a ${baseTrees().rootfsDebian} ${work}/rootfs`)
    await measure(host, work)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function measure(host: Host, work: string): Promise<void> {
  const rootfs = join(work, 'rootfs')
  const entries = timed(`find ${rootfs} | wc -l`).stdout.trim()
  // the host has no rsync of its own: it gets this machine's, with its libraries
  const rsyncTar = execFileSync(
    'sh',
    ['-c', "tar -chf - $(command -v rsync) $(ldd $(command -v rsync) | grep -o '/[^ ]*') 2>/dev/null"],
    { maxBuffer: 1 << 28 },
  )
  await host.exec('mkdir -p /srv/rsync && tar -xf - -C / --skip-old-files', rsyncTar)
  const steps: [string, string][] = [
    ['first push', 'true'],
    ['nothing changed', 'true'],
    ['one 100-byte file changed', `head -c 75 /dev/urandom | base64 -w0 >${rootfs}/etc/one`],
    ['the same file changed again', `head -c 75 /dev/urandom | base64 -w0 >${rootfs}/etc/one`],
    ['every mtime changed', `find ${rootfs} -exec touch -h {} +`],
    ['libc6, perl-base, libssl3 of another release', otherVersions(work, rootfs)],
    ['usr/share renamed', `mv ${rootfs}/usr/share ${rootfs}/usr/share2`],
  ]
  const gzip = timed(`tar -C ${rootfs} -c . | gzip -c | wc -c`).stdout.trim()
  const classic = timed(`tar -C ${rootfs} -c . | zstd -q -9 -T2 | wc -c`).stdout.trim()
  process.stdout.write(`\nover SSH, Debian minbase, ${entries} entries; bytes of the session, both ways\n`)
  row('', 'varve', 'round trips', 'rsync', 'rsync -c', 'tar|gzip', 'tar|zstd -9', 'varve s', 'rsync s')
  for (const [name, change] of steps) {
    timed(change)
    timed('sleep 1.2')
    const started = performance.now()
    const report = await varveData<Report>([
      'push',
      `rootfs:${rootfs}`,
      `${host.alias}:debian`,
      '-F',
      host.sshConfig,
      '--state-dir',
      join(work, 'state'),
    ])
    const seconds = (performance.now() - started) / 1000
    const plain = await rsync(host, { rootfs, work, flags: '' })
    const checked = await rsync(host, { rootfs, work, flags: '--checksum' })
    row(
      name,
      report.bytes.sent + report.bytes.received,
      report.roundTrips,
      plain.bytes,
      checked.bytes,
      Number(gzip),
      Number(classic),
      seconds.toFixed(2),
      plain.seconds.toFixed(2),
    )
  }
}

/** What a refresh of packages changes, the other way round: the oldest version that apt knows, over the one that is there. */
function otherVersions(work: string, rootfs: string): string {
  return `mkdir -p ${work}/debs && cd ${work}/debs && for package in libc6 perl-base libssl3; do
    apt-get download -qq "$package=$(apt-cache madison "$package" | awk '{ print $3 }' | sort -V | head -n 1)" >/dev/null 2>&1
  done; for deb in *.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C ${rootfs}; done`
}

/** rsync with its best options and root on both sides, through a proxy that counts; each kind has a tree of its own. */
async function rsync(
  host: Host,
  { rootfs, work, flags }: { rootfs: string; work: string; flags: string },
): Promise<{ bytes: number; seconds: number }> {
  await using proxy = await startProxy({ to: { host: host.address, port: host.port } })
  const config = join(work, 'rsync_config')
  writeFileSync(
    config,
    readFileSync(host.sshConfig, 'utf8')
      .replace(/HostName .*/, 'HostName 127.0.0.1')
      .replace(/Port .*/, ''),
  )
  appendFileSync(
    config,
    `\n  Port ${proxy.port}\n  HostKeyAlias ${host.address}\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n`,
  )
  const to = `/srv/rsync/t${flags === '' ? 1 : 2}`
  const before = performance.now()
  await promisify(exec)(
    `rsync -aHAX --numeric-ids --delete -z --zc=zstd --zl=19 ${flags} -e 'ssh -F ${config}' ${rootfs}/ ${host.alias}:${to}/`,
    { maxBuffer: 1 << 26 },
  )
  return { bytes: proxy.sent + proxy.received, seconds: (performance.now() - before) / 1000 }
}

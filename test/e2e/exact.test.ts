// Deployed equals source: GNU tar of both sides, byte for byte, for trees of every kind, pushed and pushed again.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { makeOddTree, tarOf } from '../fixture/rootfs.ts'
import { baseTrees } from '../fixture/trees.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'

let host: Host
let work: string
let common: string[]

beforeAll(async () => {
  host = await startHost({ become: 'sudo', store: 'ext4:900M' })
  work = mkdtempSync(join(tmpdir(), 'varve-exact-'))
  common = ['-F', host.sshConfig, '--state-dir', join(work, 'state')]
  await makeOddTree(join(work, 'odd'))
  // attributes of the machine are left out, and only regular files are linked: README, "Limits"
  execFileSync('setfattr', ['-x', 'trusted.varve', join(work, 'odd/attributes/trusted')])
  execFileSync('setfattr', ['-h', '-x', 'trusted.onlink', join(work, 'odd/attributes/link')])
  for (const linked of ['links/symlink-hardlinked', 'specials/fifo-hardlinked']) rmSync(join(work, 'odd', linked))
})
afterAll(async () => {
  await host.stop()
  rmSync(work, { recursive: true, force: true })
})

async function expectEqual(source: string, container: string): Promise<void> {
  await expectDeployed(host, `/var/lib/varve/tree/${await treeOf(container)}/root`, source)
  await expectDeployed(host, `/var/lib/machines/${container}/rootfs`, source)
}

async function treeOf(container: string): Promise<string> {
  const { containers } = await varveData<{ containers: { generations: { stack: string[] }[] }[] }>([
    'status',
    `${host.alias}:${container}`,
    ...common,
  ])
  return containers[0]?.generations.at(-1)?.stack[0] ?? ''
}

describe('a tree with every odd entry', () => {
  const push = (...more: string[]): Promise<Report> =>
    varveData<Report>([
      'push',
      `rootfs:${join(work, 'odd')}`,
      `${host.alias}:odd`,
      '--allow-devices',
      ...more,
      ...common,
    ])

  test('push() refuses its devices by name without --allow-devices', async () => {
    const error = await varveError(['push', `rootfs:${join(work, 'odd')}`, `${host.alias}:odd`, ...common])
    expect(error).toMatchObject({ code: 'E_DEVICE', status: 3 })
    expect(error.message).toContain('specials/')
  })

  test('push() deploys it exactly', async () => {
    await push()
    await expectEqual(join(work, 'odd'), 'odd')
  })

  test('push() deploys it exactly once more after every time, mode and owner moved, sending no contents', async () => {
    execFileSync('find', [join(work, 'odd'), '-exec', 'touch', '-h', '-d', '@1600000000.5', '{}', '+'])
    execFileSync('chown', ['-hR', '7:8', join(work, 'odd/links')])
    const report = await push()
    expect(report.bytes.changed).toBe(0)
    await expectEqual(join(work, 'odd'), 'odd')
  })

  test('push() deploys it exactly after moves, splits and joins of hard links, and changes of kind', async () => {
    execFileSync('sh', [
      '-ec',
      'cd "$0"; mv names moved; rm -rf prefix; ln -s links prefix; cp -a attributes copy; mkdir moved/x; for f in links/*; do [ -f "$f" ] && cp -a "$f" moved/x/; done; ln modes/file-0600 moved/joined; rm modes/file-0444; mkdir modes/file-0444',
      join(work, 'odd'),
    ])
    const report = await push()
    expect(report.bytes.changed).toBe(0)
    await expectEqual(join(work, 'odd'), 'odd')
  })

  test('push() takes special bits from directories, and gives them, at the first try', async () => {
    const bits = (modes: readonly string[]): void =>
      modes.forEach((mode, i) =>
        execFileSync('chmod', ['--', mode, join(work, 'odd', ['modes', 'copy', '.'][i] ?? '')]),
      )
    for (const modes of [
      ['7755', '0755', '3777'],
      ['0755', '6711', '0755'],
      ['1777', '0755', '0700'],
    ]) {
      bits(['u-s,g-s,-t', 'u-s,g-s,-t', 'u-s,g-s,-t'])
      bits(modes)
      const { status, stderr } = await varve(['push', `rootfs:${join(work, 'odd')}`, `${host.alias}:odd`, '--allow-devices', ...common]) // prettier-ignore
      expect([status, stderr]).toEqual([0, expect.not.stringContaining('W_HEAL')])
      await expectEqual(join(work, 'odd'), 'odd')
    }
  })

  test('push() as a copy is exact too', async () => {
    const report = await push('--rootfs', 'copy')
    expect(report.bytes.delta).toBe(0)
    await expectEqual(join(work, 'odd'), 'odd')
  })
})

test('push() deploys a Debian minbase tree exactly, from a directory and from its tar', async () => {
  const source = baseTrees().rootfsDebian
  const first = await varveData<Report>(['push', `rootfs:${source}`, `${host.alias}:debian`, ...common])
  await expectEqual(source, 'debian')
  const tar = join(work, 'debian.tar.zst')
  execFileSync('sh', [
    '-c',
    `tar -C "$0" -c --numeric-owner --xattrs --xattrs-include='*' --format=posix . | zstd -q -3 >"$1"`,
    source,
    tar,
  ])
  const second = await varveData<Report>(['push', `tar:${tar}`, `${host.alias}:debian`, ...common])
  expect(second).toMatchObject({ generation: 1, layers: [{ id: first.layers[0]?.id }], bytes: { delta: 0 } })
})

test('push() deploys a Debian minbase tree where no process of the host may have more than 128 MiB', async () => {
  await host.exec(
    `printf '#!/bin/sh\\nulimit -v 131072\\nexec /bin/sh "$@"\\n' >/usr/local/bin/limited && chmod 755 /usr/local/bin/limited && sed -i 's|^\\(deploy:.*:\\).*|\\1/usr/local/bin/limited|' /etc/passwd`,
  )
  const limit = execFileSync('ssh', ['-F', host.sshConfig, host.alias, 'sudo sh -c "ulimit -v"'])
  expect(limit.toString()).toBe('131072\n')
  await varveData(['rm', `${host.alias}:debian`, ...common])
  await varveData(['gc', host.alias, ...common])
  const report = await varveData<Report>([
    'push',
    `rootfs:${baseTrees().rootfsDebian}`,
    `${host.alias}:debian`,
    ...common,
  ])
  // what is there twice is sent once, and the odd tree has a file or two of it
  expect(report.bytes.changed).toBeGreaterThan(0.97 * report.bytes.rootfs)
  await varveData(['verify', `${host.alias}:debian`, ...common])
  const again = await varveData<Report>([
    'push',
    `tar:${join(work, 'debian.tar.zst')}`,
    `${host.alias}:second`,
    ...common,
  ])
  expect(again.bytes.changed).toBe(0)
})

test('push() patches a program there that is half as large as what a process may have', async () => {
  const rootfs = join(work, 'program')
  const program = readFileSync(process.execPath).subarray(0, 64 << 20)
  mkdirSync(rootfs)
  writeFileSync(join(rootfs, 'program'), program)
  const push = (): Promise<Report> =>
    varveData(['push', `rootfs:${rootfs}`, `${host.alias}:program`, '--effort', 'fast', ...common])
  await push()
  const moved = Buffer.concat([program.subarray(0, 9 << 20), Buffer.from('inserted'), program.subarray(9 << 20)])
  for (let at = 0; at < moved.length - 4; at += 4096) moved.writeUInt32LE((moved.readUInt32LE(at) + 8) % 2 ** 32, at)
  writeFileSync(join(rootfs, 'program'), moved)
  expect((await push()).bytes).toMatchObject({ changed: moved.length, delta: expect.toSatisfy((delta: number) => delta < 200_000) }) // prettier-ignore
  await expectEqual(rootfs, 'program')
})

test('tarOf() sees one byte of difference', async () => {
  expect(await tarOf(join(work, 'odd/modes'))).not.toBe(await tarOf(join(work, 'odd/links')))
})

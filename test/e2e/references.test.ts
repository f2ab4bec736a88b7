// Old contents make the delta small over SSH: with every set of tools a host may have, and never at the cost of the tree.
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Planned } from '../../src/verbs/plan.ts'
import type { Report } from '../../src/verbs/report.ts'
import { expectDeployed } from '../fixture/deployed.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { change, fill } from '../fixture/redeploy.ts'
import { varve, varveData } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

const wire = ({ bytes }: Report): number => bytes.sent + bytes.received

describe.each([
  ['all tools', [], 40_000],
  ['python3 but no perl', ['perl'], 40_000],
  ['perl but no zstd', ['zstd'], 40_000],
  ['zstd alone', ['perl', 'python3'], 60_000],
  ['xz alone', ['perl', 'python3', 'zstd'], 60_000],
  ['none of them', ['perl', 'python3', 'zstd', 'xz'], 400_000],
] as const)('push() to a host with %s', (_, strip, most) => {
  let host: Host
  let work: Work
  const push = (): Promise<Report> => varveData<Report>(work.push('app'))
  beforeAll(async () => {
    host = await startHost({ strip: [...strip] })
    work = workFor(host)
    fill(work.rootfs)
    await push()
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test('costs for a program, a text and a moved module little, as plan said, and is exact', async () => {
    change(work.rootfs, 1)
    const [, ...words] = work.push('app')
    const { report } = await varveData<{ report: Planned['report'] }>(['plan', ...words])
    const pushed = await push()
    expect(pushed.bytes.delta).toBe(report.bytes.delta)
    expect(wire(pushed)).toBeLessThan(most)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
    expect((await host.exec('ls -A /var/lib/varve/stage /var/lib/varve/in')).stdout.toString()).toBe('/var/lib/varve/in:\n\n/var/lib/varve/stage:\n')
  }) // prettier-ignore

  test('costs again as little, and the same in another container only the words', async () => {
    change(work.rootfs, 2)
    expect(wire(await push())).toBeLessThan(most)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
    expect((await varveData<Report>(work.push('other'))).bytes.delta).toBe(0)
  })
})

describe('push() after only metadata changed', () => {
  let host: Host
  let work: Work
  const MANY = 3000
  beforeAll(async () => {
    host = await startHost()
    work = workFor(host)
    for (let i = 0; i < MANY; i++) {
      const directory = join(work.rootfs, `many/d${i % 50}`)
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, `f\n${i}`), `${i}`)
    }
    execFileSync('sh', [
      '-c',
      'cd "$0" && ln -s ../d1 d2/away && ln "d3/f\n3" d3/linked && printf x >"$(printf "\\351")"',
      join(work.rootfs, 'many'),
    ])
    await varveData(work.push('app'))
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test.each([
    ['every time', 'find . -exec touch -h -d @1600000000.123456789 {} +', 14_000],
    [
      'each time to another',
      'i=0; find . -type f | while IFS= read -r f; do i=$((i + 1)); touch -d "@$((1500000000 + i * 7919)).$i" "$f"; done',
      60_000,
    ],
    [
      'owners and modes',
      'chown -h 12:34567 many/d4/* many/d5 many/d2/away; chmod 4711 many/d6/*; chmod 1777 many/d7',
      14_000,
    ],
    ['the place', 'mkdir -m 700 deep; mv many deep/more', 12_000],
    [
      'the place, and some times and modes there',
      'mv deep/more/d20 deep/d20; mv deep/more many; touch -d @5 many/d21/* many/d22; chmod 600 deep/d20/*; ln -s x deep/d20/new',
      14_000,
    ],
    ['an attribute', 'setfattr -n user.a -v b many/d8/* many/d9', 16_000],
  ])('%s costs little, and is exact', async (_, command, most) => {
    execFileSync('sh', ['-c', `cd "$0"; ${command}`, work.rootfs])
    const report = await varveData<Report>(work.push('app'))
    expect(wire(report)).toBeLessThan(most)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
  })

  test('costs more where the base was damaged on the host, and is exact', async () => {
    await host.exec(
      'cd /var/lib/varve/tree; for tree in *; do sed -i s/1777/1770/ "$tree/manifest"; printf x >>"$tree/manifest"; done',
    )
    execFileSync('find', [work.rootfs, '-exec', 'touch', '-h', '-d', '@1600000001', '{}', '+'])
    const ran = await varve(work.push('app'))
    expect(ran.status, ran.stderr).toBe(0)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
  })
})

describe('push() heals in itself', () => {
  let host: Host
  let work: Work
  beforeAll(async () => {
    host = await startHost()
    work = workFor(host)
    fill(work.rootfs)
    await varveData(work.push('app'))
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })
  const pushed = async (): Promise<{ stderr: string; report: Report }> => {
    const ran = await varve([...work.push('app'), '--json'])
    expect(ran.status, ran.stdout + ran.stderr).toBe(0)
    await expectDeployed(host, '/var/lib/machines/app/rootfs', work.rootfs)
    return { stderr: ran.stderr, report: (JSON.parse(ran.stdout) as { data: Report }).data }
  }

  test('an old file that is not what it was on the host', async () => {
    await host.exec('cd /var/lib/varve/tree/*/root/opt && printf x | dd of=program bs=1 seek=3000000 conv=notrunc')
    change(work.rootfs, 1)
    expect((await pushed()).stderr).toContain('W_HEAL')
  })

  test('a program on the host that makes other files than it should', async () => {
    await host.exec('mv /usr/bin/perl /usr/bin/perl.real; printf "#!/bin/sh\\nexit 0\\n" >/usr/bin/perl; chmod 755 /usr/bin/perl')
    change(work.rootfs, 2)
    const { stderr } = await pushed()
    expect(stderr).toContain('sending whole files')
    await host.exec('mv /usr/bin/perl.real /usr/bin/perl')
  }) // prettier-ignore

  test('a cache that was lost or damaged, for more bytes', async () => {
    change(work.rootfs, 3)
    execFileSync('sh', ['-c', 'for pack in "$0"/cache/*.pack; do printf xxxx | dd of="$pack" conv=notrunc 2>/dev/null; done', work.state])
    expect((await pushed()).stderr).toBe('')
    change(work.rootfs, 4)
    rmSync(join(work.state, 'cache'), { recursive: true })
    const { stderr, report } = await pushed()
    expect(stderr).toBe('')
    expect(wire(report)).toBeGreaterThan(1_000_000)
  }) // prettier-ignore

  test('varve cache says what is kept, and frees it', async () => {
    const ls = await varveData<{ contents: number; bytes: number }>(['cache', 'ls', '--state-dir', work.state])
    expect(ls.contents).toBeGreaterThan(2)
    const pruned = await varveData<{ freed: number; bytes: number }>(['cache', 'prune', '--state-dir', work.state])
    expect(pruned).toMatchObject({ freed: ls.bytes, bytes: 0, contents: 0 })
    change(work.rootfs, 5)
    await pushed()
  })
})

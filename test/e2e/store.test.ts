// A store that is not as varve left it: what is damaged is healed by the push that finds it, what is foreign is refused.
import { chmodSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startHost, type Host } from '../fixture/host.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'
import type { Report } from '../../src/verbs/report.ts'

let host: Host
let work: Work

const sh = async (command: string): Promise<string> => {
  const ran = await host.exec(command)
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr}`)
  return ran.stdout.toString()
}
/** Two pushes of trees that differ here are different trees, whatever else is in them. */
let count = 0
const change = (text = `version ${count++}\n`): void => {
  writeFileSync(join(work.rootfs, 'etc/version'), text)
  utimesSync(join(work.rootfs, 'etc/version'), 1_700_000_000, 1_700_000_000)
}
const push = (container: string): Promise<Report> => varveData<Report>(work.push(container))
const isGood = async (container: string): Promise<boolean> =>
  (await varve(['verify', `${host.alias}:${container}`, ...work.common])).status === 0
/** The root of the tree that the container's current generation stands on. */
const treeOf = async (container: string): Promise<string> => {
  const of = `/var/lib/varve/c/${container}`
  return `/var/lib/varve/tree/${(await sh(`sed -n 's/^stack //p' ${of}/$(readlink ${of}/current)`)).trim()}/root`
}

beforeAll(async () => {
  host = await startHost()
  work = workFor(host)
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})

describe('push() on a base that is damaged', () => {
  const inRootfs = (path: string): string => join(work.rootfs, path)
  beforeAll(async () => {
    for (const name of ['kept', 'chmodded', 'moved']) writeFileSync(inRootfs(`etc/${name}`), `${name}\n`.repeat(99))
    await push('healed')
  })

  test.each<[string, string, () => void]>([
    [
      'by a changed file',
      'cp -p etc/kept etc/k; echo Kept >etc/k; touch -r etc/kept etc/k; mv etc/k etc/kept',
      () => {},
    ],
    ['by a file that is gone', 'rm etc/kept', () => {}],
    ['by the loss of one that gets another mode', 'rm etc/chmodded', () => chmodSync(inRootfs('etc/chmodded'), 0o640)],
    ['by the loss of one that moves', 'rm etc/moved', () => renameSync(inRootfs('etc/moved'), inRootfs('var/moved'))],
    ['by a directory that is now a link', 'mv etc var/etc; ln -s var/etc etc', () => {}],
    ['by a file more', 'touch etc/more', () => {}],
    ['by another mode', 'chmod 777 bin', () => {}],
  ])('%s sends everything in the same push', async (_how, damage, next) => {
    await sh(`set -e; cd ${await treeOf('healed')}; ${damage}`)
    change()
    next()
    const ran = await varve([...work.push('healed'), '--json'])
    expect([ran.status, ran.stdout.slice(0, 200)]).toEqual([0, expect.stringContaining('"data"')])
    expect(ran.stderr).toContain('[W_HEAL]')
    expect(await isGood('healed')).toBe(true)
    expect(await sh('ls -A /var/lib/varve/stage')).toBe('')
  })

  test('leaves the damaged tree to those who run on it, until they are gone', async () => {
    change()
    await push('running')
    await sh(`setsid chroot /var/lib/machines/running/rootfs /bin/sleep 300 >/dev/null 2>&1 & echo $! >/run/sleeper`)
    await sh(`echo damaged >>${await treeOf('running')}/etc/kept`)
    change()
    await push('running')
    await varveData(['gc', host.alias, '--keep', '1', ...work.common])
    expect(await sh('cat /proc/$(cat /run/sleeper)/root/etc/chmodded | head -n 1')).toBe('chmodded\n')
    await sh('kill $(cat /run/sleeper); while [ -e /proc/$(cat /run/sleeper)/root/etc ]; do sleep 0.1; done')
    // what a dying process has open may keep the mount busy a little longer
    const bad = async (): Promise<string> => {
      await varveData(['gc', host.alias, '--keep', '1', ...work.common])
      return sh('ls /var/lib/varve/tree | grep -c bad || :')
    }
    await expect.poll(bad, { timeout: 10_000 }).toBe('0\n')
  })
})

describe('push() of a tree that the host holds', () => {
  test.each(['', 'and has rebooted since'])('activates it only if it is whole %s', async (reboot) => {
    change('first\n')
    await push('held')
    const first = await treeOf('held')
    change('second\n')
    await push('held')
    await sh(`echo damaged >>${first}/etc/version`)
    if (reboot !== '') await sh('echo another >/var/lib/varve/boot')
    change('first\n')
    const ran = await varve([...work.push('held'), '--json'])
    expect([ran.status, ran.stderr]).toEqual([0, ''])
    expect(await isGood('held')).toBe(true)
    expect(await sh('cat /var/lib/machines/held/rootfs/etc/version')).toBe('first\n')
    await varveData(['rm', `${host.alias}:held`, ...work.common])
    await varveData(['gc', host.alias, ...work.common])
  })

  test('after a reboot believes what is whole, and sends nothing', async () => {
    change('first\n')
    await push('booted')
    const first = await treeOf('booted')
    change('second\n')
    await push('booted')
    await sh('echo another >/var/lib/varve/boot')
    change('first\n')
    expect(await push('booted')).toMatchObject({ bytes: { delta: 0 } })
    expect(await sh(`ls ${first}/..`)).toBe('hashed\nmanifest\nok\nroot\n')
    expect(await sh('cat /proc/sys/kernel/random/boot_id')).toBe(await sh('cat /var/lib/varve/boot'))
  })
})

describe('a store that is', () => {
  const store = '/srv/store'
  const made = `cp -a /var/lib/varve ${store}`
  test.each<[string, string, RegExp]>([
    ['of another version', `${made}; echo varve-store 2 >${store}/format`, /is of another version/],
    ["another user's", `${made}; chown deploy ${store}`, /is owned by uid "1000"/],
    ["another user's and empty", `mkdir ${store}; chown deploy ${store}`, /is owned by uid "1000"/],
    ['open to others', `${made}; chmod 755 ${store}`, /has mode "755", not "700"/],
    ['a link to a store', `mkdir /srv/d; cp -a /var/lib/varve /srv/d/s; ln -s d/s ${store}`, /is a symbolic link/],
    ['a link to an empty directory', `mkdir /srv/d; ln -s d ${store}`, /is a symbolic link/],
    ['a link to nowhere', `ln -s d ${store}`, /is a symbolic link/],
    ['a file', `touch ${store}`, /is no directory/],
    ['a directory of other things', `mkdir ${store}; touch ${store}/photo`, /it holds other things, such as "photo"/],
  ])('%s is refused before anything is sent, and stays as it is', async (_what, make, message) => {
    await sh(`rm -rf /srv/* && { ${make}; }`)
    const list = `find /srv -printf '%p %y %#m %U:%G %T@ %s %l\\n' | sort; ls -A /home/deploy/.cache/varve/spool`
    const before = await sh(list)
    change()
    const error = await varveError([...work.push('app'), '--store', store])
    expect(error).toMatchObject({ code: 'E_STORE', status: 4, hint: 'name another with --store DIR' })
    expect(error.message).toMatch(message)
    expect(await sh(list)).toBe(before)
  })
  test.each([['status'], ['verify'], ['gc']])('foreign is refused by %s too', async (verb) => {
    await sh(`rm -rf /srv/* && mkdir ${store} && touch ${store}/photo`)
    expect(await varveError([verb, host.alias, ...work.common, '--store', store])).toMatchObject({ code: 'E_STORE' })
    expect(await sh(`ls ${store}`)).toBe('photo\n')
  })
})

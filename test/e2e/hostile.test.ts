// Containers and login users that lay traps: root follows none of them, and nothing outside the store changes.
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadRuntime } from '../../src/host/loader.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

let host: Host
let work: Work

const sh = async (command: string, input?: Uint8Array): Promise<string> => {
  const ran = await host.exec(command, input)
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr}`)
  return ran.stdout.toString()
}
/** All that is in the directories of the host that the traps lead to. */
const outside = async (): Promise<string> =>
  sh('for d in /etc /canary /home/deploy/mine; do sh /run/list-tree "$d"; done; ls /')

beforeAll(async () => {
  host = await startHost()
  work = workFor(host)
  await sh('cat >/run/list-tree', readFileSync(join(import.meta.dirname, '../fixture/list-tree.sh')))
  await sh('mkdir -p /canary /home/deploy/mine && echo host >/canary/app.conf && chown deploy: /home/deploy/mine')
  await sh('echo mine >/home/deploy/mine/file && chown deploy: /home/deploy/mine/file')
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})

describe.each(['overlay', 'copy'])('a container on %s', (rootfs) => {
  test('that makes etc a link to / or elsewhere gains nothing by a push, rollback, gc or rm', async () => {
    const name = `trap-${rootfs}`
    const inside = `/var/lib/machines/${name}/rootfs`
    const target = `${host.alias}:${name}`
    writeFileSync(join(work.rootfs, 'etc/app.conf'), 'one\n')
    await varveData(work.push(name, '--rootfs', rootfs))
    const before = await outside()
    const plant = (to: string): string =>
      `chroot ${inside} /bin/sh -c 'busybox rm -r etc bin/ls; busybox ln -s ${to} etc; echo evil >bin/stale; busybox ln -s /canary bin/ls'`
    await sh(plant('/'))

    writeFileSync(join(work.rootfs, 'etc/app.conf'), 'two\n')
    writeFileSync(join(work.rootfs, 'etc/new.conf'), 'new\n')
    await varveData(work.push(name, '--rootfs', rootfs))
    expect(await sh(`cd ${inside}/ && stat -c %F etc bin/ls && cat etc/app.conf && ls bin | grep -c stale || :`)).toBe(
      'directory\nsymbolic link\ntwo\n0\n',
    )
    expect(await sh(`readlink ${inside}/bin/ls`)).toBe('busybox\n')
    await sh(plant('/canary'))
    await varveData(['rollback', target, ...work.common])
    expect(await sh(`cat ${inside}/etc/app.conf; ls ${inside}/bin | grep -c stale || :`)).toBe('one\n0\n')
    await sh(plant('/'))
    await varveData(['verify', target, ...work.common])
    await varveData(['gc', host.alias, '--keep', '1', ...work.common])
    await sh(`chroot ${inside} /bin/sh -c 'busybox rm -r tmp; busybox ln -s /canary tmp'`)
    await varveData(['rm', target, ...work.common])
    await varveData(['gc', host.alias, ...work.common])
    expect(await outside()).toBe(before)
  })
})

test('the trap is one: a tar over such a container writes through the link', async () => {
  await varveData(work.push('naive'))
  const inside = '/var/lib/machines/naive/rootfs'
  await sh(`chroot ${inside} /bin/sh -c 'busybox rm -r etc; busybox ln -s /canary etc'`)
  await sh(
    `mkdir -p /run/new/etc && echo naive >/run/new/etc/app.conf && tar -C /run/new -c etc/app.conf | tar -C ${inside} -x`,
  )
  expect(await sh('cat /canary/app.conf')).toBe('naive\n')
})

test('a setuid program of a tree is out of reach for the users of the host', async () => {
  copyFileSync('/usr/bin/id', join(work.rootfs, 'bin/suid'))
  chmodSync(join(work.rootfs, 'bin/suid'), 0o4755)
  await varveData(work.push('setuid'))
  const nobody = 'setpriv --reuid=65534 --regid=65534 --clear-groups sh -c'
  const paths = (await sh('find /var/lib/varve -name suid; echo /var/lib/machines/setuid/rootfs/bin/suid'))
    .trim()
    .split('\n')
  expect(paths).toHaveLength(3)
  for (const path of paths) {
    const ran = await host.exec(`${nobody} '${path} -u'`)
    expect([ran.status, ran.stderr]).toEqual([126, expect.stringContaining('Permission denied')])
  }
  // outside the store the same file makes nobody root
  await sh('cp -p /var/lib/varve/tree/*/root/bin/suid /run/suid && chmod 4755 /run/suid')
  expect(await sh(`${nobody} '/run/suid -u'`)).toBe('0\n')
})

describe('the spool of the login user', () => {
  const spool = '/home/deploy/.cache/varve/spool'
  // less would not be spooled
  const change = (): void => writeFileSync(join(work.rootfs, 'etc/app.conf'), randomBytes(100_000))

  test.each([
    ['a link to a directory of root', `ln -s /canary ${spool}`],
    ['a link to a directory of its own', `ln -s /home/deploy/mine ${spool}`],
    ['a link to nowhere', `ln -s /canary/none ${spool}`],
    ['below a link', `rmdir /home/deploy/.cache/varve; ln -s /canary /home/deploy/.cache/varve`],
    ['a FIFO', `mkfifo ${spool}`],
    ['a file', `touch ${spool}`],
    ['a directory of root', `mkdir -m 777 ${spool}; exit 0`],
    ['closed by root', `mkdir -m 700 ${spool}; exit 0`],
    [
      'below a directory of root',
      `mkdir ${spool}; chown deploy: ${spool}; chmod 777 ${spool}/..; chown root ${spool}/..; exit 0`,
    ],
  ])('is refused where it is %s', async (_what, make) => {
    await sh('rm -rf /home/deploy/.cache && mkdir -p /home/deploy/.cache/varve && chown -R deploy: /home/deploy/.cache')
    await sh(`(${make}); case "${make}" in *exit*) ;; *) chown -h deploy: ${spool} 2>/dev/null || :;; esac`)
    const before = `${await outside()}${await sh('ls -lAR /home/deploy')}`
    change()
    const error = await varveError(work.push('spooled'))
    expect(error).toMatchObject({ code: 'E_IO', status: 4, hint: 'on the host: sudo rm -rf ~/.cache/varve' })
    expect(error.message).toContain('"~/.cache/varve/spool"')
    expect(`${await outside()}${await sh('ls -lAR /home/deploy')}`).toBe(before)
    expect(await sh('ls /var/lib/varve/c | grep -c spooled || :')).toBe('0\n')
  })

  test('is closed where it stands open, and rid of what cut connections left', async () => {
    await sh(
      `rm -rf /home/deploy/.cache; mkdir -p ${spool}; cd ${spool}; touch new.part old.part; touch -d '3 days ago' old.part`,
    )
    await sh('chmod -R 777 /home/deploy/.cache; chown -R deploy: /home/deploy/.cache')
    change()
    await varveData(work.push('spooled'))
    expect(await sh(`stat -c %a ${spool} ${spool}/..; ls ${spool}`)).toBe('700\n700\nnew.part\n')
  })

  test('is read with care: what was swapped after the upload is refused', async () => {
    const text = Buffer.from('canary\n')
    const sum = createHash('sha256').update(text).digest('hex')
    const at = `${spool}/${sum}`
    await sh(
      `cat >/canary/file && cp /canary/file /home/deploy/mine/file && chown deploy: /home/deploy/mine/file`,
      text,
    )
    await sh('cat >/run/runtime', loadRuntime().text)
    const before = await outside()
    const swaps = [
      `ln -s /canary/file ${at}`,
      `ln -s /home/deploy/mine/file ${at}`,
      `mkfifo ${at}; chown deploy: ${at}`,
      `mkdir ${at}; chown deploy: ${at}`,
      `cp /canary/file ${at}`,
      `ln /canary/file ${at}`,
      `printf 'Canary\\n' >${at}; chown deploy: ${at}`,
      `echo longer >${at}; chown deploy: ${at}`,
      `rmdir ${spool}; ln -s /canary ${spool}; ln -s file /canary/${sum}`,
    ]
    const tree = sum.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
    for (const swap of swaps) {
      await sh(`rm -rf ${spool}; mkdir ${spool}; chown deploy: ${spool}; ${swap}`)
      const ask = 'timeout 20 sh -c ". /run/runtime" varve /home/deploy 1000 /var/lib/varve /var/lib/machines'
      const said = await sh(
        ask,
        Buffer.from(`receive ${tree} - ${sum} ${text.length} ${sum} none:${text.length} ${text.length}\n`),
      )
      expect(said, swap).toMatch(/^die E_HASH cannot take the delta: /)
    }
    await sh(`rm -f /canary/${sum}`)
    expect((await outside()).replace(/^\.\t.*$/gm, '')).toBe(before.replace(/^\.\t.*$/gm, ''))
    mkdirSync(join(work.rootfs, 'srv'))
    await sh(`rm -rf ${spool}`)
    await varveData(work.push('spooled'))
  })
})

// State: what is persisted outlives generations, whoever owns it; what is not goes with its generation, unless it is carried over.
import { chmodSync, chownSync, cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Report } from '../../src/verbs/report.ts'
import type { ContainerStatus, Status } from '../../src/verbs/status.ts'
import { startHost, type Host } from '../fixture/host.ts'
import { serving } from '../fixture/server.ts'
import { makeImage } from '../fixture/umoci.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

let host: Host
let work: Work
const DATA = '/var/lib/varve/c'
const well = ['--restart', '--health-tcp', '8080', '--stop-timeout', '1']
const push = (name: string, ...more: string[]): Promise<Report> =>
  varveData<Report>(work.push(name, ...serving(8080), ...more))
const sh = async (command: string): Promise<string> => (await host.exec(command)).stdout.toString()
const inside = (name: string, command: string): Promise<unknown> =>
  varve(['exec', `${host.alias}:${name}`, ...work.common, '--', 'sh', '-c', command])
const statusOf = async (name: string): Promise<ContainerStatus> =>
  (await varveData<Status>(['status', `${host.alias}:${name}`, ...work.common])).containers[0] ?? expect.fail()
const write = (path: string, text: string): void => writeFileSync(join(work.rootfs, path), text)

beforeAll(async () => {
  host = await startHost()
  work = workFor(host)
  for (const path of ['srv', 'museum', 'museum/deep', 'opt']) mkdirSync(join(work.rootfs, path))
  write('srv/index.html', 'one\n')
  write('museum/deep/piece', 'from the image\n')
  for (const path of ['museum', 'museum/deep']) chownSync(join(work.rootfs, path), 499, 498)
  chmodSync(join(work.rootfs, 'museum'), 0o2750)
  symlinkSync('/etc', join(work.rootfs, 'link'))
})
afterAll(async () => {
  await host.stop()
  work[Symbol.dispose]()
})

test.each([
  ['/', 'it is the root', 3],
  ['museum', 'it is no absolute path of letters, digits, "_", "-" and "."', 3],
  ['/a/../etc', 'it leads through "." or ".."', 3],
  ['/proc/x', "it belongs to the host's kernel", 3],
  ['/srv/index.html', '"/srv/index.html" is no directory in the image', 3],
  ['/srv/index.html/x', '"/srv/index.html" is no directory in the image', 3],
  ['/link/x', '"/link" is a symbolic link to "/etc" in the image', 3],
])('--persist %s is refused: %s', async (path, why, status) => {
  const refused = await varveError(work.push('bad', '--persist', path))
  expect(refused).toMatchObject({ code: 'E_PERSIST', status })
  expect(refused.message).toBe(`cannot persist "${path}": ${why}`)
  expect(await sh(`ls ${DATA}/bad 2>/dev/null`)).toBe('')
})

describe.each(['overlay', 'copy'])('on %s', (name) => {
  const piece = `${DATA}/${name}/data/museum/deep/piece`

  test('what is persisted is filled from the image once, with its owners and modes, and mounted', async () => {
    write('museum/deep/piece', 'from the image\n')
    await push(name, '--rootfs', name, '--persist', '/museum/', '--persist', '/var/lib/deep', ...well)
    expect(await sh(`cd ${DATA}/${name}/data; stat -c '%n %u:%g %a' * museum/deep; cat ${piece}`)).toBe(
      'museum 499:498 2750\nvar+lib+deep 0:0 755\nmuseum/deep 499:498 755\nfrom the image\n',
    )
    await inside(name, 'echo mine >/museum/deep/piece; echo other >/var/lib/deep/new; echo lost >/etc/own')
    expect(await sh(`cat ${piece} ${DATA}/${name}/data/var+lib+deep/new`)).toBe('mine\nother\n')
    expect((await statusOf(name)).service.persist).toEqual(['/museum', '/var/lib/deep'])
  })

  test('it is there in the next generation, which another image brings, and is asked for no more', async () => {
    write('museum/deep/piece', `another image ${name}\n`)
    const { started } = await push(name, '--rootfs', name, ...well)
    expect(started).toMatchObject({ generation: 2, previous: 1 })
    expect(started?.wrote).toEqual(name === 'copy' ? null : { files: 1, bytes: 5, removed: 0, names: ['etc/own'] })
    await inside(name, 'busybox cp /museum/deep/piece /museum/seen; busybox ls /etc >>/museum/seen')
    expect(await sh(`cat ${DATA}/${name}/data/museum/seen`)).toBe('mine\ngroup\nhosts\npasswd\n')
  })

  test('rollback takes it along, and rm takes it away only when told to', async () => {
    const target = `${host.alias}:${name}`
    await varveData(['rollback', target, ...well, ...work.common])
    await inside(name, 'busybox cp /museum/deep/piece /museum/again')
    expect(await sh(`cat ${DATA}/${name}/data/museum/again`)).toBe('mine\n')
    await varveData(['stop', target, ...work.common])
    expect(await varveError(['rm', target, ...work.common])).toMatchObject({
      code: 'E_PERSIST',
      message: `cannot remove ${name}: it has persisted /museum /var/lib/deep`,
      hint: `varve rm ${target} --data removes that too`,
    })
    expect(await sh(`cat ${piece}`)).toBe('mine\n')
    await varveData(['rm', target, '--data', ...work.common])
    expect(await sh(`ls ${DATA}`)).toBe('')
  })
})

test('of layers, what is seen of them is what fills it', async () => {
  const layout = join(work.state, '../layout')
  const upper = join(work.state, '../upper')
  mkdirSync(join(upper, 'museum/deep'), { recursive: true })
  writeFileSync(join(upper, 'museum/deep/.wh.piece'), '')
  writeFileSync(join(upper, 'museum/new'), 'of the upper layer\n')
  makeImage(layout, 'layers', { layers: [work.rootfs, upper] })
  const words = ['push', `oci:${layout}:layers`, `${host.alias}:layers`, '--persist', '/museum', ...work.common]
  expect((await varveData<Report>(words)).layers).toHaveLength(2)
  expect(await sh(`cd ${DATA}/layers/data/museum && find . | sort && cat new; grep -c stage/image /proc/mounts`)).toBe(
    '.\n./deep\n./new\nof the upper layer\n0\n',
  )
})

test('a delta as a file goes only where its config.json mounts what is persisted', async () => {
  const file = join(work.state, '../layers.varve')
  const target = `${host.alias}:layers`
  write('srv/index.html', 'from a file\n')
  await varveData(['pack', `rootfs:${work.rootfs}`, '-o', file, ...work.common])
  expect(await varveError(['apply', file, target, ...work.common])).toMatchObject({
    code: 'E_PERSIST',
    message: 'cannot switch layers: its config.json does not mount the persisted /museum',
  })
  rmSync(file)
  await varveData(['pack', `rootfs:${work.rootfs}`, '-o', file, '--for', target, ...work.common])
  expect(await varveData(['apply', file, target, ...work.common])).toMatchObject({ generation: 2 })
})

test('a rollback to what does not mount it is refused, and nothing is changed', async () => {
  write('srv/index.html', 'before\n')
  await push('later', ...well)
  await push('later', '--persist', '/museum', ...well)
  await inside('later', 'echo mine >/museum/deep/piece')
  const before = await statusOf('later')
  for (const more of [[], ['--restart'], ['--to', '1']])
    expect(await varveError(['rollback', `${host.alias}:later`, ...more, ...work.common])).toMatchObject({
      code: 'E_PERSIST',
      status: 3,
      message: 'cannot roll back later to generation 1: its config.json does not mount the persisted /museum',
      hint: expect.stringContaining('--unpersist PATH gives it up'),
    })
  expect(await statusOf('later')).toEqual(before)
  // once it is given up, there is nothing to lose
  write('srv/index.html', 'after\n')
  await push('later', '--unpersist', '/museum', ...well)
  expect(await varveData(['rollback', `${host.alias}:later`, '--to', '1', ...well, ...work.common])).toMatchObject({ generation: 4 }) // prettier-ignore
  expect(await sh(`cat ${DATA}/later/data/museum/deep/piece`)).toBe('mine\n')
  await varveData(['stop', `${host.alias}:later`, ...work.common])
})

test('--unpersist gives it up from the next generation on, and leaves its data', async () => {
  write('srv/index.html', 'given up\n')
  await push('layers', '--unpersist', '/museum')
  expect((await statusOf('layers')).service.persist).toEqual([])
  expect(await sh(`grep -c museum ${DATA}/layers/bundle/3/config.json; cat ${DATA}/layers/data/museum/new`)).toBe(
    '0\nof the upper layer\n',
  )
})

test('--upper keep goes on with what was written, says so, and leaves the old layer as it is', async () => {
  write('srv/index.html', 'first\n')
  await push('kept', ...well)
  await inside('kept', 'echo changed >/srv/index.html; echo own >/srv/own; busybox rm /etc/group; busybox rm -r /opt; busybox mkdir /opt') // prettier-ignore
  write('srv/index.html', 'second\n')
  write('opt/new', 'of the new image\n')
  cpSync(join(work.rootfs, 'opt/new'), join(work.rootfs, 'srv/new'))
  const ran = await varve(work.push('kept', ...serving(8080), ...well, '--upper', 'keep'))
  expect(ran.status).toBe(0)
  expect(ran.stderr).toContain('generation 2 goes on with the writable layer of generation 1')
  const root = '/var/lib/machines/kept/rootfs'
  // the place where an engine mounts the host's hosts is there
  expect(await sh(`cd ${root}; cat srv/index.html srv/own srv/new; ls -A opt etc`)).toBe(
    'changed\nown\nof the new image\netc:\nhosts\npasswd\n\nopt:\n',
  )
  expect(await sh(`cat ${DATA}/kept/up/1/u/srv/own`)).toBe('own\n')
  await inside('kept', 'echo more >/srv/own')
  expect(await sh(`cat ${DATA}/kept/up/1/u/srv/own ${DATA}/kept/up/2/u/srv/own`)).toBe('own\nmore\n')
})

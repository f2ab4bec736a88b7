// The built command as a user has it: what it refuses and in which words, and what each option does.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs' // prettier-ignore
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Planned } from '../../src/verbs/plan.ts'
import type { Report } from '../../src/verbs/report.ts'
import { startHost } from '../fixture/host.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { rawArchive, rawMember, rawPax } from '../tar/raw-header.ts'

let work: string
let state: string[]
let common: string[]

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'varve-cli-'))
  state = ['--state-dir', join(work, 'state')]
  common = [...state, '--store', join(work, 'store'), '--bundle-dir', join(work, 'bundles')]
})
afterAll(() => {
  execFileSync('sh', ['-c', `awk -v at="$0/" 'index($5, at) == 1 { print $5 }' /proc/self/mountinfo | xargs -r umount`, work])
  rmSync(work, { recursive: true })
}) // prettier-ignore

const path = (name: string): string => join(work, name)
beforeAll(() => {
  writeFileSync(path('one.tar'), rawArchive(rawMember({ name: 'f' }, 'one')))
})

describe('varve refuses', () => {
  const push = ['push', 'rootfs:/']
  test.concurrent.each<[string, string[], string, string]>([
    ['75 a name', [...push, 'local:../x'], 'E_NAME', 'it must match'],
    ['75 control bytes in a name', [...push, 'local:a\x1b[31m\n'], 'E_NAME', '"a\\x1b[31m\\x0a"'],
    ['75 a target without a name', [...push, 'host'], 'E_NAME', 'it names no container'],
    ['75 a name to ask for', ['status', 'local:A'], 'E_NAME', 'it must match'],
    ['76 an option as a host', [...push, '--', '-oProxyCommand=x:app'], 'E_HOST', 'is no host name'],
    ['76 an empty host', ['doctor', ''], 'E_HOST', 'the host is empty'],
    ['77 no target', push, 'E_USAGE', "missing required argument 'target'"],
    ['77 a third word', [...push, 'local:app', 'x'], 'E_USAGE', 'too many arguments'],
    ['77 an unknown verb', ['pusch'], 'E_USAGE', "unknown command 'pusch'"],
    ['77 control bytes in a flag', [...push, 'local:app', '--\x1b[31m\u202e'], 'E_USAGE', "'--\\x1b[31m\\u{202e}'"],
    ['77 a flag of another verb', ['status', 'local', '--keep', '3'], 'E_USAGE', "unknown option '--keep'"],
    ['77 a flag without a value', [...push, 'local:app', '--store'], 'E_USAGE', "'--store <dir>' argument missing"],
    ['77 a format that is none', ['status', 'local', '--format', 'yaml'], 'E_USAGE', 'Allowed choices are text, json'],
    ['77 a loss that is none', [...push, 'local:app', '--allow-loss', 'xattrs,all'], 'E_USAGE', 'Use xattrs or mtimes'],
    ['77 both loud and quiet', ['status', 'local', '-v', '-q'], 'E_USAGE', 'verbose and quiet'],
    ['77 a number that is negative', ['gc', 'local', '--keep', '-1'], 'E_USAGE', 'It is no whole number'],
    ['77 a generation before the first', ['rollback', 'local:app', '--to', '0'], 'E_USAGE', 'generations begin at 1'],
    ['100 to keep nothing', ['gc', 'local', '--keep', '0'], 'E_USAGE', 'cannot keep 0 generations'],
    ['77 a store that is relative', ['status', 'local', '--store', 'store'], 'E_USAGE', 'no absolute path'],
    ['77 a store that climbs', ['status', 'local', '--store', '/srv/../etc'], 'E_USAGE', 'no absolute path'],
    ['90 a comma in the bundle directory', ['status', 'local', '--bundle-dir', '/srv/a,b'], 'E_USAGE', 'no absolute path'],
    ['77 a platform that is none', [...push, 'local:app', '--platform', 'x y'], 'E_USAGE', 'platform'],
    ['77 a mount over the root', [...push, 'local:app', '--mount', '/srv:/'], 'E_USAGE', 'cannot mount "/srv:/"'],
    ['77 a mount that climbs', [...push, 'local:app', '--mount', '/srv:/data/../../etc'], 'E_USAGE', 'without ".."'],
    ['77 a network that is none', [...push, 'local:app', '--net', 'bridge'], 'E_USAGE', 'it is not host, none or path:FILE'],
    ['77 a capability that is none', [...push, 'local:app', '--cap-add', 'root'], 'E_USAGE', '"root" as a capability'],
    ['77 a rewrite that is none', [...push, 'local:app', '--keep', 'root'], 'E_USAGE', 'no rewrite has that name'],
    ['77 an engine that is none', [...push, 'local:app', '--engine', 'docker'], 'E_USAGE', 'Allowed choices are runc, crun'],
    ['77 a source that is none', ['push', './rootfs', 'local:app'], 'E_USAGE', 'it is none of rootfs:DIR'],
  ])('%s', async (_, args, code, message) => {
    const ran = await varve(args, { env: { XDG_STATE_HOME: path('state') } })
    expect(ran.status).toBe(2)
    expect(ran.stdout).toBe('')
    expect(ran.stderr).toContain(message)
    expect(ran.stderr).toMatch(new RegExp(`^varve: cannot [^\\n]+[^.] \\[${code}\\]\\n(?:  hint: [^\\n]+\\n)?$`))
    expect(printables(ran.stderr)).toBe(ran.stderr)
  }) // prettier-ignore

  test.concurrent('with one JSON document where JSON was asked for, and nothing else', async () => {
    for (const format of [['--json'], ['--format', 'json'], ['--format=json']]) {
      const ran = await varve(['push', 'rootfs:/', 'local:A', ...format])
      const { schemaVersion, error } = JSON.parse(ran.stdout) as { schemaVersion: number; error: object }
      expect({ schemaVersion, status: ran.status, stderr: ran.stderr }).toEqual({ schemaVersion: 1, status: 2, stderr: '' })
      expect(error).toEqual({ code: 'E_NAME', message: expect.any(String), hint: expect.any(String) })
    }
    expect(await varveError(['push', '--\x1b[1m'])).toMatchObject({ code: 'E_USAGE', status: 2, message: expect.stringContaining('\\x1b') })
  }) // prettier-ignore

  test.concurrent.each<[string, string[], number, string]>([
    ['a source that is not there', ['push', 'rootfs:/no\x1bwhere', 'local:app'], 3, 'E_SOURCE'],
    ['an archive that is not there', ['push', 'tar:/nowhere', 'local:app'], 3, 'E_SOURCE'],
    ['a state directory that cannot be', ['status', 'local', '--state-dir', '/dev/null/x'], 4, 'E_IO'],
    ['an ssh_config that is not there', ['status', 'me@127.0.0.1', '-F', '/nowhere'], 2, 'E_CONFIG'],
    ['a host where nobody listens', ['status', 'ssh://me@127.0.0.1:1'], 5, 'E_CONNECT'],
  ])('%s', async (_, args, status, code) => {
    const ran = await varve([...args, ...(args.includes('--state-dir') ? [] : state)])
    expect(ran.stderr).toContain(`[${code}]`)
    expect(ran.status).toBe(status)
    expect(printables(ran.stderr)).toBe(ran.stderr)
    expect(ran.stderr).not.toMatch(/\n +at /)
  })
})

describe('varve tells', () => {
  const verbs = ['push', 'plan', 'status', 'verify', 'rollback', 'gc', 'rm', 'doctor']

  test.concurrent.each(verbs)('what %s does with --help', async (verb) => {
    const { status, stdout, stderr } = await varve([verb, '--help'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: varve ${verb} \\[options\\] <|^Usage: varve doctor \\[options\\] \\[host\\]`))
    for (const option of ['--store', '--bundle-dir', '--json', '--progress', '-v,', '-q,', '-i,', '-F,', '--state-dir'])
      expect(stdout).toContain(option)
  }) // prettier-ignore

  test.concurrent('what a command has of its own before what all have', async () => {
    const { stdout } = await varve(['exec', '--help'])
    expect(stdout).toMatch(/^Options:\n  --stdin .*\n  -h, --help .*\n\nOptions of all commands:\n  --store /m)
    expect((await varve(['push', '--help'])).stdout).not.toContain('[])')
  })

  test.concurrent.each([
    [['exec', 'local:app'], 'varve exec --help lists what there is'],
    [['push', 'rootfs:/', 'local:app', '--health-tcp', '0'], 'varve push --help lists what there is'],
    [['nonsense'], 'varve --help lists what there is'],
    [['--nonsense'], 'varve --help lists what there is'],
  ])('where help is for %j', async (words, hint) => {
    expect(await varveError(words)).toMatchObject({ code: 'E_USAGE', status: 2, hint })
  })

  test.concurrent('which verbs there are, and its version', async () => {
    const help = await varve(['--help'])
    for (const verb of verbs) expect(help.stdout).toMatch(new RegExp(`^  ${verb} `, 'm'))
    expect(await varve([])).toEqual({ status: 2, stdout: '', stderr: help.stdout })
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string }
    expect((await varve(['--version'])).stdout).toBe(`${version}\n`)
  }) // prettier-ignore
})

describe('varve', () => {
  const one = (): string => `tar:${path('one.tar')}`
  const app = 'local:app'
  const current = (name: string): string => path(`bundles/${name}`)

  test('push -n and plan change nothing', async () => {
    const planned = await varve(['push', one(), app, '-n', ...common])
    expect(planned).toMatchObject({ status: 0, stdout: expect.stringMatching(/^local:app would be at generation 1\n/) })
    expect(await varve(['plan', one(), app, ...common])).toEqual({ ...planned, stdout: planned.stdout })
    expect(await varve(['push', one(), app, '--dry-run', ...common])).toEqual(planned)
    expect(existsSync(path('store'))).toBe(false)
  })

  test('plan -o writes the bytes that it tells, to a new file of the user alone', async () => {
    const written = path('delta')
    const { report } = await varveData<Planned>(['plan', one(), app, '-o', written, ...common])
    expect(statSync(written)).toMatchObject({ size: report.bytes.delta, mode: 0o100600 })
    expect(execFileSync('tar', ['-tf', written]).toString()).toBe('stage/steps\nstage/m\nstage/m/f\n')
    expect(await varveError(['plan', one(), app, '-o', written, ...common])).toMatchObject({ code: 'E_USAGE', status: 2 })
    expect(statSync(written).size).toBe(report.bytes.delta)
  }) // prettier-ignore

  test('--progress says the steps by lines or not at all, -v what was found, -q nothing', async () => {
    const saying = async (...flags: string[]): Promise<[string, string]> => {
      const { stdout, stderr } = await varve(['plan', one(), app, ...flags, ...common])
      return [stdout === '' ? '' : 'data', stderr]
    }
    const lines = 'reading the source\nconnecting\nplanning\n'
    expect(await saying('--progress', 'lines')).toEqual(['data', lines])
    expect(await saying()).toEqual(['data', lines])
    expect(await saying('--progress', 'off')).toEqual(['data', ''])
    expect(await saying('--json')).toEqual(['data', ''])
    expect(await saying('-q')).toEqual(['', ''])
    expect(await saying('-v', '--progress', 'off')).toEqual([
      'data',
      expect.stringMatching(/^varve: local has GNU tar, .*\nvarve: tree [0-9a-f]{12} from nothing: 0 dropped, 1 made, 1 sent, 0 linked, 0 copied\n$/),
    ])
  }) // prettier-ignore

  test('plan --detailed-exitcode ends with 10 where a push would change something, else with 0', async () => {
    const ends = async (): Promise<number | null> =>
      (await varve(['plan', one(), app, '--detailed-exitcode', ...common])).status
    expect(await ends()).toBe(10)
    expect(await varveData<Report>(['push', one(), app, ...common])).toMatchObject({ generation: 1 })
    expect(await ends()).toBe(0)
    expect((await varve(['plan', one(), 'local:other', ...common])).status).toBe(0)
  })

  test.each(['gzip', 'zstd', 'xz'])('push reads the same tree of an archive by %s, and of standard input', async (codec) => {
    const archive = execFileSync(codec, ['-c', path('one.tar')])
    writeFileSync(path('packed'), archive)
    const same = { generation: 1, previous: 1, bytes: { delta: 0 } }
    expect(await varveData(['push', `tar:${path('packed')}`, app, ...common])).toMatchObject(same)
    expect(await varveData(['push', 'tar:-', app, ...common], { input: archive })).toMatchObject(same)
  }) // prettier-ignore

  test('push of a bundle keeps its config.json and points it at the new root filesystem', async () => {
    mkdirSync(path('bundle/fs/d'), { recursive: true })
    writeFileSync(path('bundle/config.json'), JSON.stringify({ ociVersion: '1.0.2', process: { args: ['/f'], cwd: '/', x: [1] }, hostname: 'h', root: { path: 'fs', readonly: true } }))
    await varveData(['push', `bundle:${path('bundle')}`, 'local:bundle', ...common])
    expect(JSON.parse(readFileSync(`${current('bundle')}/config.json`, 'utf8'))).toEqual({
      ociVersion: '1.0.2',
      process: { args: ['/f'], cwd: '/', x: [1] },
      hostname: 'h',
      root: { path: path('store/c/bundle/bundle/1/rootfs'), readonly: true },
    })
    expect(existsSync(`${current('bundle')}/rootfs/d`)).toBe(true)
  }) // prettier-ignore

  test('push --cmd, --env, --cwd and --user say what runs; --rootfs copy mounts nothing', async () => {
    const flags = ['--env', 'A=1', '--env', 'PATH=/bin', '--cwd', '/d', '--user', '7:8', '--rootfs', 'copy']
    await varveData(['push', one(), 'local:run', ...flags, ...common, '--cmd', '/f', 'x y', '--cmd=-z'])
    const { process } = JSON.parse(readFileSync(`${current('run')}/config.json`, 'utf8')) as { process: object }
    expect(process).toMatchObject({ args: ['/f', 'x y', '-z'], env: ['PATH=/bin', 'A=1'], cwd: '/d', user: { uid: 7, gid: 8 } })
    expect(readFileSync(`${current('run')}/rootfs/f`, 'utf8')).toBe('one')
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(path('store/c/run/'))
    for (const bad of [['--env', 'A'], ['--cwd', 'd'], ['--user', 'root;id'], ['--cmd', '']])
      expect(await varveError(['push', one(), 'local:run', ...bad, ...common])).toMatchObject({ code: 'E_CONFIG', status: 2 })
  }) // prettier-ignore

  test('push refuses device nodes that reach hardware, unless --allow-devices', async () => {
    writeFileSync(path('sda.tar'), rawArchive(rawMember({ name: 'sda', type: '4', major: '0000010\0' })))
    const args = ['push', `tar:${path('sda.tar')}`, 'local:dev', ...common]
    expect(await varveError(args)).toMatchObject({ code: 'E_DEVICE', status: 3, hint: expect.stringContaining('--allow-devices') })
    await varveData([...args, '--allow-devices'])
    expect(statSync(`${current('dev')}/rootfs/sda`)).toMatchObject({ rdev: 8 << 8 })
  }) // prettier-ignore

  test('95 keeps names byte for byte, and shows them escaped', async () => {
    const names = ['\xff', 'a\nb', '\x1b[31m', '\xe2\x80\xaergb', '-rf', 'end ', 'e\xcc\x81', '\xc3\xa9']
    writeFileSync(path('odd.tar'), rawArchive(...names.map((name) => rawMember({ name }, name))))
    const args = [`tar:${path('odd.tar')}`, 'local:odd', ...common]
    const shown = ['\\xff', 'a\\x0ab', '\\x1b[31m', '\\u{202e}rgb', '-rf', 'end ', 'e\u0301', '\u00e9']
    const itemized = await varve(['plan', '--itemize', ...args])
    for (const name of shown) expect(itemized.stdout).toContain(`  send  ${name}\n`)
    const { items } = await varveData<Planned>(['plan', ...args])
    expect(items.filter(({ action }) => action === 'send').map((item) => item.path).toSorted()).toEqual(shown.toSorted())
    await varveData(['push', ...args])
    const root = Buffer.from(`${current('odd')}/rootfs/`)
    for (const name of names)
      expect(readFileSync(Buffer.concat([root, Buffer.from(name, 'latin1')]), 'latin1')).toBe(name)
  }) // prettier-ignore

  test.each<[string, string[], string, number]>([
    ['99 a generation that is not there', ['rollback', app, '--to', '9'], 'E_GEN', 4],
    ['99 a rollback where there is one generation', ['rollback', app], 'E_GEN', 4],
    ['a container that is not there', ['rollback', 'local:none'], 'E_NO_CONTAINER', 4],
    ['to remove what is not there', ['rm', 'local:none'], 'E_NO_CONTAINER', 4],
    ['a store that is none', ['status', 'local', '--store', '/etc'], 'E_STORE', 4],
  ])('refuses %s', async (_, args, code, status) => {
    const given = args.includes('--store') ? state : common
    expect(await varveError([...args, ...given])).toMatchObject({ code, status })
  })
})

test('push to a host with BusyBox tar refuses what it would lose, unless --allow-loss', async () => {
  await using host = await startHost({ userland: 'busybox' })
  writeFileSync(path('lossy.tar'), rawArchive(rawPax([['SCHILY.xattr.user.a', '1'], ['mtime', '1.5']]), rawMember({ name: 'f' }, 'x')))
  const args = ['push', `tar:${path('lossy.tar')}`, `${host.alias}:app`, '-F', host.sshConfig, ...state]
  const refused = { code: 'E_LOSS', status: 4, message: expect.stringContaining('"f"') }
  expect(await varveError(args)).toMatchObject({ ...refused, hint: expect.stringContaining('--allow-loss xattrs') })
  expect(await varveError([...args, '--allow-loss', 'xattrs'])).toMatchObject({ ...refused, hint: expect.stringContaining('--allow-loss mtimes') })
  expect(await varveData<Report>([...args, '--allow-loss', 'xattrs,mtimes'])).toMatchObject({ generation: 1 })
  expect((await host.exec('stat -c %Y /var/lib/machines/app/rootfs/f')).stdout.toString()).toBe('1\n')
}) // prettier-ignore

/** The text less what could act on a terminal. */
function printables(text: string): string {
  return text.replace(/[^\n -~]/g, '')
}

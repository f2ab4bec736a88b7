import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { SshHost } from '../../src/host/ssh-config.ts'
import { resolveSsh } from '../../src/host/ssh-config.ts'

const home = mkdtempSync(join(tmpdir(), 'varve-ssh-config-'))
const marker = join(home, 'ran')
mkdirSync(join(home, '.ssh/conf.d'), { recursive: true })
writeFileSync(join(home, '.ssh/conf.d/20-late.conf'), 'Host included\n  Port 2020\n')
writeFileSync(join(home, '.ssh/conf.d/10-early.conf'), 'Host included\n  Port 1010\n  User early\n')
writeFileSync(join(home, '.ssh/only-web'), 'IdentityFile ~/.ssh/for_web\n')
writeFileSync(
  join(home, '.ssh/config'),
  `Include ${home}/.ssh/conf.d/*.conf
Host web
  HostName %h.example.com
  User deploy
  Port 2222
  Include ${home}/.ssh/only-web
  IdentitiesOnly yes
  IdentityFile ~/.ssh/%r_%h
  UserKnownHostsFile ~/.ssh/one ~/.ssh/two_%h
  HostKeyAlias alias
  StrictHostKeyChecking accept-new
  ServerAliveInterval 5
  ServerAliveCountMax 2
  IdentityAgent ~/.ssh/agent.sock
Host far
  ProxyJump me@near:2201,ssh://mid
Host loose
  StrictHostKeyChecking no
  IdentityAgent none
Host commanded
  ProxyCommand nc %h %p
`,
)
const broken = join(home, 'broken')
writeFileSync(broken, 'Host *\n  Nonsense\x1b[31m yes\n')
afterAll(() => rmSync(home, { recursive: true, force: true }))

function ssh(host: string, more: Partial<SshHost> = {}): SshHost {
  return { kind: 'ssh', host, ...more }
}

describe.each([
  ['with ssh -G', 'ssh'],
  ['without the ssh program', '/nonexistent/ssh'],
])('resolveSsh() %s', (_title, program) => {
  const options = { user: 'local', home, program }

  test('reads a host', async () => {
    expect(await resolveSsh(ssh('web'), options)).toEqual({
      hostname: 'web.example.com',
      port: 2222,
      user: 'deploy',
      identityFiles: [join(home, '.ssh/for_web'), join(home, '.ssh/deploy_web.example.com')],
      identitiesOnly: true,
      agent: join(home, '.ssh/agent.sock'),
      jumps: [],
      userKnownHosts: [join(home, '.ssh/one'), join(home, '.ssh/two_web.example.com')],
      globalKnownHosts: ['/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2'],
      hostKeyAlias: 'alias',
      acceptNew: true,
      alive: { intervalMs: 5000, most: 2 },
    })
  })

  test('lets the user and port of the target win', async () => {
    expect(await resolveSsh(ssh('web', { user: 'me', port: 22 }), options)).toMatchObject({ user: 'me', port: 22 })
  })

  test('knows what holds for a host that is not configured', async () => {
    const settings = await resolveSsh(ssh('other'), options)
    expect(settings).toMatchObject({ hostname: 'other', port: 22, identitiesOnly: false, agent: undefined, jumps: [] })
    expect(settings.userKnownHosts).toEqual([join(home, '.ssh/known_hosts'), join(home, '.ssh/known_hosts2')])
    expect(settings.identityFiles).toContain(join(home, '.ssh/id_ed25519'))
    expect(settings.acceptNew).toBe(false)
  })

  test('includes files in the order of their names, the first value winning', async () => {
    expect(await resolveSsh(ssh('included'), options)).toMatchObject({ port: 1010, user: 'early' })
  })

  test('keeps what is included under one host from all others', async () => {
    expect((await resolveSsh(ssh('loose'), options)).identityFiles).not.toContain(join(home, '.ssh/for_web'))
  })

  test('reads a chain of jumps', async () => {
    expect((await resolveSsh(ssh('far'), options)).jumps).toEqual([ssh('near', { user: 'me', port: 2201 }), ssh('mid')])
  })

  test('never takes StrictHostKeyChecking no for an answer', async () => {
    expect(await resolveSsh(ssh('loose'), options)).toMatchObject({ acceptNew: false, agent: 'none' })
  })

  test('refuses a ProxyCommand', async () => {
    await expect(resolveSsh(ssh('commanded'), options)).rejects.toMatchObject({
      code: 'E_CONFIG',
      message: /ProxyCommand/,
    })
  })

  test('refuses a configuration file that is not there', async () => {
    const configFile = join(home, 'missing')
    await expect(resolveSsh(ssh('web'), { ...options, configFile })).rejects.toMatchObject({ code: 'E_CONFIG' })
  })
})

test('resolveSsh() says what ssh says of a broken file, escaped', async () => {
  const failure = resolveSsh(ssh('web'), { user: 'local', home, configFile: broken })
  await expect(failure).rejects.toMatchObject({
    code: 'E_CONFIG',
    message: /^[\x20-\x7e]*bad configuration[\x20-\x7e]*$/i,
  })
})

test('resolveSsh() without the ssh program runs no Match exec and stops at files that include themselves', async () => {
  const config = join(home, 'exec')
  writeFileSync(config, `Match exec "touch ${marker}"\n  Port 1\nHost *\n  Port 2\n`)
  const options = { user: 'local', home, program: '/nonexistent/ssh' }
  expect(await resolveSsh(ssh('web'), { ...options, configFile: config })).toMatchObject({ port: 2 })
  expect(existsSync(marker)).toBe(false)
  const circle = join(home, 'circle')
  writeFileSync(circle, `Include ${circle}\n`)
  await expect(resolveSsh(ssh('web'), { ...options, configFile: circle })).rejects.toMatchObject({ code: 'E_CONFIG' })
})

test('resolveSsh() agrees with ssh -G on the port and user of every host of the file', async () => {
  for (const host of ['web', 'included', 'far', 'loose', 'other']) {
    const said = execFileSync('ssh', ['-G', '-F', join(home, '.ssh/config'), '--', host], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
    const settings = await resolveSsh(ssh(host), { user: 'root', home, program: '/nonexistent/ssh' })
    expect(said).toContain(`\nport ${settings.port}\n`)
    expect(said).toContain(`\nhostname ${settings.hostname}\n`)
  }
})

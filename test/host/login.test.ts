// Who we say we are: keys to a real OpenSSH server, passwords to one made of ssh2.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import ssh2 from 'ssh2'
import { describe, expect, test } from 'vitest'
import type { SshOptions } from '../../src/host/ssh.ts'
import { answers, asking, home, knowing, open, publicText, room, say, start, useServers } from './sshd.ts'

useServers()

describe('connectSsh() as a user', () => {
  test.each(['user', 'user-ec', 'user-rsa'])('logs in with the key file %s', async (name) => {
    await using transport = await open({ identities: [join(room, name)] })
    expect(await say(transport, 'echo in')).toBe('in\n')
  })

  test('logs in with a key of the agent, and with one that only the agent can open', async () => {
    const socket = join(room, 'agent.sock')
    start('ssh-agent', '-D', '-a', socket)
    await answers(socket)
    const environment = { ...process.env, SSH_AUTH_SOCK: socket }
    for (const name of ['stranger', 'user', 'user-rsa'])
      execFileSync('ssh-add', ['-q', join(room, name)], { env: environment, stdio: 'ignore' })
    {
      await using transport = await open({ identities: [], agentSocket: socket })
      expect(await say(transport, 'echo in')).toBe('in\n')
    }
    copyFileSync(join(room, 'user-rsa.pub'), join(room, 'half.pub'))
    writeFileSync(join(home, '.ssh/config'), `IdentitiesOnly yes\nIdentityFile ${join(room, 'half')}\n`)
    await using transport = await open({ identities: [], agentSocket: socket })
    expect(await say(transport, 'echo half')).toBe('half\n')
    writeFileSync(join(home, '.ssh/config'), `IdentitiesOnly yes\nIdentityFile ${join(room, 'absent')}\n`)
    await expect(open({ identities: [], agentSocket: socket })).rejects.toMatchObject({ code: 'E_AUTH' })
  })

  test.each(['locked', 'locked-pem'])('asks once for the passphrase of %s', async (name) => {
    const ask = asking('open sesame')
    await using transport = await open({ identities: [join(room, name)], ask })
    expect(await say(transport, 'echo in')).toBe('in\n')
    expect(ask.asked).toEqual([`passphrase: Passphrase for ${join(room, name)}: `])
  })

  const bad: [string, string, RegExp, () => Partial<SshOptions>][] = [
    ['an encrypted key without a terminal', 'E_KEY', /no terminal/, () => ({ identities: [join(room, 'locked')] })],
    [
      'a wrong passphrase',
      'E_KEY',
      /passphrase is wrong/,
      () => ({ identities: [join(room, 'locked')], ask: asking('no') }),
    ],
    [
      'a key that the host does not know',
      'E_AUTH',
      /did not accept the key .*stranger/,
      () => ({ identities: [join(room, 'stranger')] }),
    ],
    ['a key that is not there', 'E_KEY', /no such file/, () => ({ identities: [join(room, 'nowhere')] })],
    ['a PuTTY key', 'E_KEY', /PuTTY/, () => ({ identities: [file('putty', 'PuTTY-User-Key-File-3: ssh-ed25519\n')] })],
    [
      'a file that is no key',
      'E_KEY',
      /not supported/,
      () => ({ identities: [file('poem', 'Wer reitet so spaet\n')] }),
    ],
    [
      'a key that all may read',
      'E_KEY',
      /others may read/,
      () => ({ identities: [file('bare', readFileSync(join(room, 'user')), 0o644)] }),
    ],
    ['no key at all', 'E_AUTH', /no key to offer/, () => ({ identities: [] })],
  ]
  test.each(bad)('refuses %s', async (_title, code, message, more) => {
    const failure = open(more())
    await expect(failure).rejects.toMatchObject({ code, message })
    await expect(failure).rejects.toMatchObject({ hint: /./ })
  })
})

describe('connectSsh() and passwords', () => {
  test.each(['password', 'keyboard-interactive'] as const)('logs in by %s, asked once', async (kind) => {
    using host = await server(kind)
    const ask = asking('right')
    await using transport = await open({ identities: [], ask }, host.port)
    expect(transport.traffic().sent).toBeGreaterThan(0)
    expect(host.heard).toEqual(['right'])
    expect(ask.asked).toHaveLength(1)
    expect(ask.asked[0]).not.toContain('\x1b')
  })

  test.each(['password', 'keyboard-interactive'] as const)('sends a wrong %s once and never again', async (kind) => {
    using host = await server(kind)
    const ask = asking('wrong')
    await expect(open({ identities: [], ask }, host.port)).rejects.toMatchObject({ code: 'E_AUTH' })
    expect(host.heard).toEqual(['wrong'])
    expect(ask.asked).toHaveLength(1)
  })

  test('answers no second round of prompts', async () => {
    using host = await server('keyboard-interactive', 2)
    const ask = asking('right')
    await expect(open({ identities: [], ask }, host.port)).rejects.toMatchObject({ code: 'E_AUTH' })
    expect(host.heard.filter((word) => word === 'right')).toHaveLength(1)
    expect(ask.asked).toHaveLength(1)
  })

  test('never sends a password to a host whose key is unknown or changed', async () => {
    using host = await server('password')
    knowing()
    await expect(open({ ask: passwords }, host.port)).rejects.toMatchObject({ code: 'E_HOSTKEY_UNKNOWN' })
    knowing(`[127.0.0.1]:${host.port} ${publicText(join(room, 'stranger'))}`)
    await expect(open({ ask: passwords, acceptNew: true }, host.port)).rejects.toMatchObject({
      code: 'E_HOSTKEY_CHANGED',
    })
    expect(host.heard).toEqual([])
  })

  test('says what was tried where nobody can be asked', async () => {
    using host = await server('password')
    await expect(open({}, host.port)).rejects.toMatchObject({ code: 'E_AUTH' })
    expect(host.heard).toEqual([])
  })
})

test('exec() knows the status of a command that ends in the packet that says it was started', async () => {
  using host = await server('password')
  await using transport = await open({ identities: [], ask: asking('right') }, host.port)
  const ends = Array.from({ length: 50 }, async () => (await transport.exec('anything')).exit)
  expect(new Set(await Promise.all(ends))).toEqual(new Set([9]))
})

/** Answers a password, and trusts nobody. */
const passwords = async (question: { kind: string }): Promise<string | undefined> =>
  question.kind === 'password' ? 'right' : 'no'

function file(name: string, content: string | Buffer, mode = 0o600): string {
  const path = join(room, name)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}

/** Takes the password 'right' and hears all others; every command ends at once with status 9. */
async function server(kind: 'password' | 'keyboard-interactive', rounds = 1) {
  const heard: string[] = []
  const host = new ssh2.Server({ hostKeys: [readFileSync(join(room, 'host-ed'))] }, (client) => {
    client.on('error', () => undefined)
    client.on('session', (accept) => {
      accept().on('exec', (start) => {
        const stream = start()
        stream.exit(9)
        stream.end()
      })
    })
    client.on('authentication', (context) => {
      if (context.method === 'password' && kind === 'password') {
        heard.push(context.password)
        if (context.password === 'right') return context.accept()
      }
      if (context.method === 'keyboard-interactive' && kind === 'keyboard-interactive') {
        const round = (left: number): void =>
          context.prompt([{ prompt: 'Word\x1b[2J: ', echo: false }], (words) => {
            heard.push(...words)
            if (left > 1) round(left - 1)
            else if (words[0] === 'right') context.accept()
            else context.reject([kind])
          })
        return round(rounds)
      }
      return context.reject([kind])
    })
  })
  host.listen(0, '127.0.0.1')
  await once(host, 'listening')
  const { port } = host.address() as AddressInfo
  knowing(`[127.0.0.1]:${port} ${publicText(join(room, 'host-ed'))}`)
  return { port, heard, [Symbol.dispose]: () => void host.close() }
}

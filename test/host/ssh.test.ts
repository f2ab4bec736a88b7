// Against two real OpenSSH servers on the loopback interface.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { connectSsh } from '../../src/host/ssh.ts'
import {
  asking,
  freePort,
  home,
  hosts,
  knowing,
  open,
  options,
  ports,
  publicText,
  room,
  say,
  useServers,
} from './sshd.ts'

useServers()

describe('connectSsh() and host keys', () => {
  test('refuses an unknown host where nobody can be asked, and writes nothing', async () => {
    knowing()
    await expect(open()).rejects.toMatchObject({ code: 'E_HOSTKEY_UNKNOWN', hint: /--accept-new/ })
    expect(readFileSync(hosts, 'utf8')).toBe('')
  })

  test('refuses an unknown host when the user does not say yes, without a word to it about us', async () => {
    knowing()
    const ask = asking('no')
    await expect(open({ ask })).rejects.toMatchObject({ code: 'E_HOSTKEY_UNKNOWN' })
    expect(ask.asked).toEqual([expect.stringMatching(/^confirm: .*SHA256:/)])
  })

  test('takes a new host with acceptNew once, and then knows it', async () => {
    knowing()
    await (await open({ acceptNew: true }))[Symbol.asyncDispose]()
    expect(readFileSync(hosts, 'utf8')).toBe(`[127.0.0.1]:${ports.first} ${publicText(join(room, 'host-ed'))}\n`)
    await using transport = await open()
    expect(await say(transport, 'echo known')).toBe('known\n')
    expect(readFileSync(hosts, 'utf8').split('\n')).toHaveLength(2)
  })

  test('refuses a changed host key, named by file and line, even with acceptNew', async () => {
    knowing('# a comment', `[127.0.0.1]:${ports.first} ${publicText(join(room, 'stranger'))}`)
    const failure = open({ acceptNew: true, ask: asking('yes') })
    await expect(failure).rejects.toMatchObject({
      code: 'E_HOSTKEY_CHANGED',
      hint: /ssh-keygen -R '\[127.0.0.1\]:\d+'/,
    })
    await expect(failure).rejects.toThrow(`${hosts}:2`)
  })

  test('refuses a revoked host key', async () => {
    appendFileSync(hosts, `@revoked * ${publicText(join(room, 'host-ed'))}\n`)
    await expect(open({ acceptNew: true })).rejects.toMatchObject({ code: 'E_HOSTKEY_REVOKED' })
  })

  test('knows a hashed name', async () => {
    execFileSync('ssh-keygen', ['-q', '-H', '-f', hosts], { stdio: 'ignore' })
    expect(readFileSync(hosts, 'utf8')).toMatch(/^\|1\|/)
    await using transport = await open()
    expect(await say(transport, 'echo hashed')).toBe('hashed\n')
  })

  test.each(['host-ec', 'host-rsa'])(
    'does not take a second key type for an attack: only %s is known',
    async (name) => {
      knowing(`[127.0.0.1]:${ports.first} ${publicText(join(room, name))}`)
      await using transport = await open()
      expect(await say(transport, 'echo ok')).toBe('ok\n')
    },
  )

  test('takes a host that no longer has the known type of key for changed', async () => {
    knowing(`[127.0.0.1]:${ports.second} ${publicText(join(room, 'host-ec'))}`)
    await expect(open({ acceptNew: true }, ports.second)).rejects.toMatchObject({ code: 'E_HOSTKEY_CHANGED' })
  })

  test('finds the key under HostKeyAlias', async () => {
    knowing(`pet ${publicText(join(room, 'host-ed'))}`)
    writeFileSync(join(home, '.ssh/config'), 'HostKeyAlias pet\n')
    await using transport = await open()
    expect(await say(transport, 'echo alias')).toBe('alias\n')
  })

  test('refuses a known_hosts file that cannot be read', async () => {
    writeFileSync(join(home, '.ssh/config'), `UserKnownHostsFile ${room}\n`)
    await expect(open()).rejects.toMatchObject({ code: 'E_KNOWN_HOSTS' })
  })
})

describe('connectSsh() through a ProxyJump', () => {
  const target = { kind: 'ssh', host: 'inner', user: 'root' } as const

  test('runs commands behind it and counts the outer traffic', async () => {
    config()
    await using transport = await connectSsh(target, options())
    expect(await say(transport, 'echo $SSH_CONNECTION')).toMatch(new RegExp(` ${ports.second}\n$`))
    expect(transport.traffic().received).toBeGreaterThan(5000)
  })

  test('asks once for the passphrase that opens both', async () => {
    config()
    const ask = asking('open sesame')
    await using transport = await connectSsh(target, options({ identities: [join(room, 'locked')], ask }))
    expect(await say(transport, 'echo both')).toBe('both\n')
    expect(ask.asked).toHaveLength(1)
  })

  test('checks the host key of the jump and of the host', async () => {
    config()
    knowing(`[127.0.0.1]:${ports.first} ${publicText(join(room, 'host-ed'))}`)
    await expect(connectSsh(target, options())).rejects.toMatchObject({
      code: 'E_HOSTKEY_UNKNOWN',
      message: /"root@inner"/,
    })
    knowing(`[127.0.0.1]:${ports.second} ${publicText(join(room, 'other-ed'))}`)
    await expect(connectSsh(target, options())).rejects.toMatchObject({
      code: 'E_HOSTKEY_UNKNOWN',
      message: /"root@127/,
    })
  })

  test('refuses a circle, and says when the jump cannot reach the host', async () => {
    writeFileSync(join(home, '.ssh/config'), `Host a b\n  ProxyJump c\nHost c\n  ProxyJump b\n`)
    await expect(connectSsh({ kind: 'ssh', host: 'a' }, options())).rejects.toMatchObject({ code: 'E_CONFIG' })
    writeFileSync(
      join(home, '.ssh/config'),
      `Host inner\n  HostName 127.0.0.1\n  Port ${await freePort()}\n  ProxyJump root@127.0.0.1:${ports.first}\n`,
    )
    await expect(connectSsh(target, options())).rejects.toMatchObject({ code: 'E_CONNECT', message: /jump/ })
  })
})

describe('connectSsh() and what runs over it', () => {
  test('carries 5 MB there and back', async () => {
    await using transport = await open()
    const data = randomBytes(5_000_000)
    const channel = await transport.exec('cat')
    const [back] = await Promise.all([buffer(channel.stdout), pipeline([data], channel.stdin)])
    expect(back.equals(data)).toBe(true)
    expect(await channel.exit).toBe(0)
    expect(transport.traffic().sent).toBeGreaterThan(5_000_000)
    expect(transport.traffic().received).toBeGreaterThan(5_000_000)
  })

  test('tells the exit status, a signal, and stderr apart from stdout', async () => {
    await using transport = await open()
    const channel = await transport.exec('echo out; echo err >&2; exit 7')
    expect(await Promise.all([text(channel.stdout), text(channel.stderr), channel.exit])).toEqual(['out\n', 'err\n', 7])
    expect(await (await transport.exec('kill -9 $$')).exit).toBeNull()
  })

  test('runs commands side by side', async () => {
    await using transport = await open()
    const said = await Promise.all(['a', 'b', 'c'].map((word) => say(transport, `echo ${word}`)))
    expect(said).toEqual(['a\n', 'b\n', 'c\n'])
  })

  test('fails a write with EPIPE when the command ends before it has read everything', async () => {
    await using transport = await open()
    const channel = await transport.exec('head -c 10; exit 3')
    await expect(pipeline([randomBytes(20_000_000)], channel.stdin)).rejects.toMatchObject({ code: 'EPIPE' })
    expect(await channel.exit).toBe(3)
  })

  test('answers a write that is under way when the command ends', async () => {
    await using transport = await open()
    const channel = await transport.exec('sleep 0.2')
    const written = new Promise((resolve) => {
      channel.stdin.write(randomBytes(20_000_000), resolve)
    })
    expect(await written).toMatchObject({ code: 'EPIPE' })
  })

  test('goes on when nobody reads what a command says', async () => {
    await using transport = await open()
    const channel = await transport.exec('head -c 8000000 /dev/zero')
    channel.stdout.destroy()
    expect(await channel.exit).not.toBeUndefined()
    expect(await say(transport, 'echo on')).toBe('on\n')
  })

  test('closes a channel without the connection', async () => {
    await using transport = await open()
    const channel = await transport.exec('sleep 100')
    channel.close()
    expect(await channel.exit).toBeNull()
    expect(await say(transport, 'echo on')).toBe('on\n')
  })

  test('costs under 5 kB for an exec of true', async () => {
    const transport = await open()
    expect(await (await transport.exec('true')).exit).toBe(0)
    await transport[Symbol.asyncDispose]()
    const { sent, received } = transport.traffic()
    expect(sent).toBeGreaterThan(1000)
    expect(received).toBeGreaterThan(1000)
    expect(sent + received).toBeLessThan(5000)
  })

  test.each(['', 'through a jump'])('tells a connection that is cut in the middle %s', async (way) => {
    const cut = await relay(ports.first)
    knowing(`* ${publicText(join(room, 'host-ed'))}`, `* ${publicText(join(room, 'other-ed'))}`)
    const jump = `Host inner\n  HostName 127.0.0.1\n  Port ${ports.second}\n  ProxyJump root@127.0.0.1:${cut.port}\n`
    writeFileSync(join(home, '.ssh/config'), way === '' ? '' : jump)
    const ref = way === '' ? ({ host: '127.0.0.1', port: cut.port } as const) : ({ host: 'inner' } as const)
    await using transport = await connectSsh({ kind: 'ssh', user: 'root', ...ref }, options())
    const channel = await transport.exec('echo begin; cat; sleep 100')
    const [begin] = await once(channel.stdout, 'data')
    expect(String(begin)).toBe('begin\n')
    const reading = text(channel.stdout)
    const writing = pipeline([randomBytes(20_000_000)], channel.stdin)
    const both = Promise.allSettled([reading, writing])
    cut.cut()
    expect(await channel.exit).toBeNull()
    for (const result of await both) expect(result).toMatchObject({ status: 'rejected', reason: { code: 'E_LOST' } })
    await expect(transport.exec('true')).rejects.toMatchObject({ code: 'E_LOST' })
  })

  test('says who does not answer', async () => {
    const nobody = await freePort()
    await expect(open({}, nobody)).rejects.toMatchObject({
      code: 'E_CONNECT',
      message: `cannot connect to "root@127.0.0.1:${nobody}": connection refused (127.0.0.1 port ${nobody})`,
    })
    const mute = createServer(() => undefined).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const silent = (mute.address() as AddressInfo).port
    await expect(open({ connectTimeoutMs: 300 }, silent)).rejects.toMatchObject({ code: 'E_TIMEOUT' })
    mute.close()
  })
})

function config(): void {
  writeFileSync(
    join(home, '.ssh/config'),
    `Host inner\n  HostName 127.0.0.1\n  Port ${ports.second}\n  ProxyJump root@127.0.0.1:${ports.first}\n`,
  )
}

/** A way to a port that can be cut. */
async function relay(target: number): Promise<{ port: number; cut: () => void }> {
  const sockets: { destroy(): void }[] = []
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    sockets.push(near, far)
    for (const socket of [near, far]) socket.on('error', () => undefined)
    near.pipe(far).pipe(near)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  return { port: (server.address() as AddressInfo).port, cut }
}

// Becoming root on a host by every way there is, and the refusals of those that are not open.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startHost, type Host } from '../fixture/host.ts'
import { until } from '../fixture/server.ts'
import { varveAtTerminal } from '../fixture/terminal.ts'
import { varve, varveData, varveError } from '../fixture/varve.ts'
import { workFor, type Work } from '../fixture/work.ts'

/** Found nowhere else, and hard on everything that quotes or decodes. */
const PASSWORD = `caña-7f3 "\\$HOME' %s`
const PROMPT = '[sudo] password on '

let host: Host
let work: Work

const sh = async (command: string, input?: string): Promise<string> => {
  const ran = await host.exec(command, input === undefined ? undefined : Buffer.from(input))
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr}`)
  return ran.stdout.toString()
}
const status = (): string[] => ['status', host.alias, ...work.common]

// it would wait 20 s for an answer
test(
  'a source that cannot be read ends a push, though the host has not answered yet',
  { timeout: 15_000 },
  async () => {
    await using server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const error = await varveError(['push', 'rootfs:/nowhere', `ssh://deploy@127.0.0.1:${port}/app`])
    expect(error).toMatchObject({ code: 'E_SOURCE', status: 3 })
  },
)

describe('with sudo', () => {
  beforeAll(async () => {
    host = await startHost({ become: 'sudo-password' })
    work = workFor(host)
    await sh('chpasswd', `deploy:${PASSWORD}\n`)
    await sh('cp /etc/sudoers /run/sudoers.first')
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  /** The fixture's sudoers with other lines at its end. */
  const sudoers = (lines: string): Promise<string> =>
    sh(
      `{ grep -v '^deploy' /run/sudoers.first; cat; } >/etc/sudoers.new && chmod 440 /etc/sudoers.new && mv /etc/sudoers.new /etc/sudoers`,
      lines,
    )
  const WITH_PASSWORD = 'deploy ALL=(ALL:ALL) ALL\n'

  test('push() at a terminal asks once, and the password is left nowhere', async () => {
    await sudoers(`Defaults lecture=always\n${WITH_PASSWORD}`)
    await sh(`printf 'echo "Welcome to \\033[2J"; printf "unread mail: 7"' >/home/deploy/.ssh/rc`)
    await sh('cat >/run/pattern && chmod 600 /run/pattern', PASSWORD)
    const watch = 'grep -lasF -f /run/pattern /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/run/seen'
    const watching = host.exec(`: >/run/seen; until [ -e /run/enough ]; do ${watch}; done`)

    const seen = await varveAtTerminal(work.push('app', '--json'), [{ after: PROMPT, type: `${PASSWORD}\r` }])
    expect(seen.shown).toContain('"generation":1')
    expect(seen.status).toBe(0)
    expect(seen.shown.split(PROMPT)).toHaveLength(2)
    expect(seen.shown).not.toContain(PASSWORD)
    expect(await sh('cat /run/seen')).toBe('')

    // the same watch finds what is there to find
    await host.exec('sleep 1 & sh -c "sleep 1; :" "$(cat /run/pattern)"')
    await sh('touch /run/enough')
    await watching
    expect(await sh('cat /run/seen')).toContain('/cmdline')
    const everywhere = 'grep -rlasF -f /run/pattern --exclude=pattern /etc /home /root /run /tmp /var'
    expect((await host.exec(everywhere)).stdout.toString()).toBe('')
    expect(spawnSync('grep', ['-rlaF', PASSWORD, work.state], { encoding: 'utf8' })).toMatchObject({
      status: 1,
      stdout: '',
    })
    // a ticket would let others be root for a while
    expect(await sh('ls -A /run/sudo/ts 2>/dev/null || :')).toBe('')
    await sh('rm /home/deploy/.ssh/rc')
  })

  test('push() connects while the source is read, and asks behind that', async () => {
    await sudoers(WITH_PASSWORD)
    const archive = `${work.state}.tar`
    spawnSync('mkfifo', [archive])
    const words = ['push', `tar:${archive}`, `${host.alias}:app`, ...work.common, '--progress', 'lines']
    const pushing = varveAtTerminal(words, [{ after: PROMPT, type: `${PASSWORD}\r` }])
    await until(async () => (await host.exec('ps -eo comm= | grep -x sudo')).status === 0)
    expect(spawnSync('tar', ['-C', work.rootfs, '-cf', archive, '.']).status).toBe(0)
    const seen = await pushing
    expect(seen.shown).toMatch(/reading the source\s+connecting\s+\[sudo\] password on [^]*generation \d/)
    expect(seen.status).toBe(0)
  })

  test('a wrong password is sent once', async () => {
    for (const tries of ['', 'Defaults passwd_tries=1\n']) {
      await sudoers(tries + WITH_PASSWORD)
      const seen = await varveAtTerminal(
        [...status(), '--json'],
        [
          { after: PROMPT, type: 'no\r' },
          { after: PROMPT, type: `${PASSWORD}\r` },
        ],
      )
      expect(seen.shown).toMatch(
        /"code":"E_SUDO_PASSWORD","message":"cannot become root: sudo did not take.*","hint":"run/,
      )
      expect(seen.status).toBe(4)
      expect(seen.shown.split(PROMPT)).toHaveLength(2)
    }
    expect(await sh('ps -eo comm= | grep -cx sudo || :')).toBe('0\n')
  })

  test('nothing typed is no password; Ctrl-C is an interrupt', async () => {
    const empty = await varveAtTerminal([...status(), '--json'], [{ after: PROMPT, type: '\x04' }])
    expect(empty.shown).toMatch(/"code":"E_SUDO_PASSWORD","message":"[^"]* and none was given/)
    expect(empty.status).toBe(4)
    const stopped = await varveAtTerminal([...status(), '--json'], [{ after: PROMPT, type: '\x03' }])
    expect(stopped.shown).toContain('E_INTERRUPTED')
    expect(stopped.status).toBe(130)
  })

  test.each([
    ['nothing', '', 'deploy is not in the sudoers file'],
    ['another command', 'deploy ALL=(ALL:ALL) /bin/true\n', 'Sorry, user deploy is not allowed to execute'],
  ])('who may run %s is told so, after the password', async (_title, lines, message) => {
    await sudoers(lines)
    const seen = await varveAtTerminal([...status(), '--json'], [{ after: PROMPT, type: `${PASSWORD}\r` }])
    expect(seen.shown).toContain(`"code":"E_SUDO_DENIED","message":"cannot become root: ${message}`)
    expect(seen.shown).not.toContain(PASSWORD)
    expect(seen.status).toBe(4)
  })

  const refusals: readonly [string, string, string, RegExp][] = [
    ['a password without a terminal', WITH_PASSWORD, 'E_SUDO_PASSWORD', /run at a terminal/],
    ['requiretty', 'Defaults requiretty\ndeploy ALL=(ALL:ALL) NOPASSWD: ALL\n', 'E_SUDO_TTY', /!requiretty/],
  ]
  test.each(refusals)('sudo with %s is refused with a hint', async (_title, lines, code, hint) => {
    await sudoers(lines)
    const error = await varveError(work.push('other'))
    expect(error).toMatchObject({ code, status: 4 })
    expect(error.message).toMatch(/^cannot become root: /)
    expect(error.hint).toMatch(hint)
    expect(await sh('ls /var/lib/varve/c; ps -eo comm= | grep -x sudo || :')).toBe('app\n')
  })

  test('what sudo itself complains of is told', async () => {
    await sudoers(WITH_PASSWORD)
    await sh('chmod 666 /etc/sudoers')
    expect(await varveError(status())).toMatchObject({
      code: 'E_SUDO_DENIED',
      status: 4,
      message: expect.stringMatching(/^cannot become root: sudo: /) as string,
    })
  })

  test('a login shell that runs nothing is refused', async () => {
    await sh('usermod -s /usr/sbin/nologin deploy')
    expect(await varveError(status())).toMatchObject({
      code: 'E_SHELL',
      status: 4,
      message: expect.stringContaining('This account is currently not available') as string,
    })
    await sh('usermod -s /bin/sh deploy')
  })
})

describe('with doas', () => {
  beforeAll(async () => {
    host = await startHost({ become: 'doas' })
    work = workFor(host)
  })
  afterAll(async () => {
    await host.stop()
    work[Symbol.dispose]()
  })

  test('doas without a password works, with one it is refused at a terminal too', async () => {
    expect(await varveData(work.push('app'))).toMatchObject({ generation: 1 })
    await sh('echo "permit deploy" >/etc/doas.conf')
    const seen = await varveAtTerminal([...status(), '--json'], [])
    expect(seen.shown).toMatch(/"code":"E_SUDO_DENIED","message":"cannot become root: doas: .*permit nopass/)
    expect(seen.status).toBe(4)
    await sh('rm /etc/doas.conf')
    expect(await varveError(status())).toMatchObject({ code: 'E_SUDO_DENIED', status: 4 })
  })

  test('neither sudo nor doas is E_ROOT', async () => {
    await sh('rm /usr/bin/doas')
    const ran = await varve(status())
    expect(ran.stderr).toMatch(/^varve: cannot become root on the host: .* \[E_ROOT\]\n {2}hint: /m)
    expect(ran.status).toBe(4)
  })
})

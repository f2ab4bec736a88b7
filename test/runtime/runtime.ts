// Runs the host's runtime under a chosen shell, in a process group of its own, with deltas that the built command made.
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { byteString } from '../../src/model/bytes.ts'
import { scanDirectory } from '../../src/source/directory.ts'
import { makeHasher, treeId } from '../../src/store/hash.ts'
import { loadRuntime } from '../../src/host/loader.ts'
import { varve, varveData } from '../fixture/varve.ts'

/** BusyBox ash runs its own applets instead of GNU's: test/e2e has a host with just these. */
export const shells = [['dash'], ['bash', '--posix']] as const

/** The runtime as it is sent to a host. */
export const runtimeText = loadRuntime().text.toString()

export interface Delta {
  /** What lies in the spool, where it is not the delta itself. */
  readonly spooled?: Uint8Array
  readonly file: string
  readonly tree: string
  readonly base: string
}

/** A store with one generation of the container "app", and the delta to a second tree. */
export class Bench {
  readonly work = mkdtempSync(join(tmpdir(), 'varve-runtime-'))
  readonly store = join(this.work, 'store')
  readonly options = [
    '--store',
    this.store,
    '--bundle-dir',
    join(this.work, 'bundles'),
    '--state-dir',
    join(this.work, 'state'),
  ]

  async push(rootfs: string): Promise<void> {
    await varveData(['push', `rootfs:${rootfs}`, 'local:app', '--rootfs', 'copy', ...this.options])
  }

  async delta(rootfs: string): Promise<Delta> {
    const file = join(this.work, `delta-${Math.random()}`)
    await varveData(['plan', `rootfs:${rootfs}`, 'local:app', '-o', file, ...this.options])
    const steps = readFileSync(file, 'latin1')
    return { file, tree: /^tree ([0-9a-f]{64})$/m.exec(steps)?.[1] ?? '', base: /^base (\S+)$/m.exec(steps)?.[1] ?? '' }
  }

  /** A copy of the store to break; overlay mounts have no place in it. */
  clone(): Bench {
    const copy = new Bench()
    execFileSync('cp', ['-a', this.store, copy.store])
    return copy
  }

  /** Spools the delta, then asks receive and activate; all that the runtime said. */
  async deliver(
    delta: Delta,
    at: { shell: readonly string[]; text: string; expected: number; number: number },
  ): Promise<string> {
    const home = join(this.work, 'home')
    const spool = join(home, '.cache/varve/spool')
    mkdirSync(spool, { recursive: true })
    const bytes = readFileSync(delta.file)
    const sha = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(spool, sha), delta.spooled ?? bytes)
    const config = '{}'
    const requests = [
      `receive ${delta.tree} ${delta.base} ${sha} ${bytes.length} ${sha} none ${bytes.length}\n`,
      `activate app ${at.expected} ${at.number} ${delta.tree} copy ${sha} ${config.length}\n${config}`,
    ]
    return this.ask(requests, at)
  }

  ask(requests: readonly string[], { shell, text }: { shell: readonly string[]; text: string }): Promise<string> {
    const [program = '', ...args] = shell
    const child = spawn(
      program,
      [...args, '-c', text, 'varve', join(this.work, 'home'), '0', this.store, join(this.work, 'bundles')],
      { detached: true, stdio: ['pipe', 'pipe', 'inherit'] },
    )
    child.stdin.on('error', () => {})
    let said = ''
    let asked = 0
    // one request at a time: BusyBox head reads ahead
    const next = (): void =>
      void (asked < requests.length ? child.stdin.write(requests[asked++] ?? '') : child.stdin.end())
    next()
    return new Promise((resolve) => {
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString('latin1')
        const answers = said.split('\n').filter((line) => line === 'ok' || line.startsWith('die ')).length
        if (asked <= answers && !child.stdin.writableEnded) next()
      })
      child.once('close', () => resolve(said))
    })
  }

  /** The number and tree of the current generation, its tree computed anew from the disk. Throws where it is not whole. */
  async current(): Promise<{ number: number; tree: string }> {
    const { containers } = await varveData<{
      containers: { current: number; generations: { number: number; stack: string[] }[] }[]
    }>(['status', 'local:app', ...this.options])
    const number = containers[0]?.current ?? 0
    const tree = containers[0]?.generations.find((generation) => generation.number === number)?.stack[0] ?? ''
    const { tree: read } = scanDirectory(byteString(join(this.store, 'tree', tree, 'root')), {
      hash: await makeHasher(),
      previous: undefined,
      onWarning: () => {},
    })
    if (read === undefined || treeId(read) !== tree)
      throw new Error(`tree ${tree} of generation ${number} is not whole`)
    statSync(join(this.store, `c/app/bundle/${number}/config.json`))
    return { number, tree }
  }

  /** What an interrupted run may leave and the next must remove. */
  leftovers(): string[] {
    const rooms = ['stage', 'in', 'tx', 'trash'].flatMap((room) =>
      readdirSync(join(this.store, room)).map((name) => `${room}/${name}`),
    )
    const links = readdirSync(join(this.store, 'c/app')).filter((name) => name.startsWith('.cur.'))
    const halves = readdirSync(this.store, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.includes('.tmp.'),
    )
    return [...rooms, ...links, ...halves]
  }

  async remove(): Promise<void> {
    await varve(['rm', 'local:app', ...this.options])
    rmSync(this.work, { recursive: true, force: true })
  }
}

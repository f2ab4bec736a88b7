// Runs the host's runtime under a chosen shell, in a process group of its own, with deltas that the built command made.
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { encodeDelta, type DeltaOptions, type Encoded } from '../../src/delta/encode.ts'
import { NO_WAYS, type Ways } from '../../src/delta/ways.ts'
import { byteString } from '../../src/model/bytes.ts'
import type { FileEntry } from '../../src/model/entry.ts'
import type { Tree } from '../../src/model/tree.ts'
import { makePlan } from '../../src/plan/plan.ts'
import { scanDirectory } from '../../src/source/directory.ts'
import { makeHasher, treeId } from '../../src/store/hash.ts'
import { loadRuntime } from '../../src/host/loader.ts'
import { isAlive } from '../fixture/host.ts'
import { varve, varveData } from '../fixture/varve.ts'

/** Where stores are made and broken: in memory, so that sync costs nothing, and gone with the mount namespace of run.sh. */
export const ground = '/run/varve-bench'
mkdirSync(ground, { recursive: true })
execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'bench', ground])
// with all that is mounted in it
afterAll(() => void execFileSync('umount', ['--lazy', ground]))

/** The runtime as it is sent to a host. */
export const runtimeText = loadRuntime().text.toString()

/** Words by which a shell evaluates a text, as a client's loader does: it is longer than one word of a command may be. */
export function evaluated(text: string, [home, uid, store, bundles]: [string, string, string, string]): string[] {
  const file = join(ground, `${createHash('sha256').update(text).digest('hex')}.sh`)
  // a shell that was started just now may still read it
  if (!existsSync(file)) {
    writeFileSync(`${file}.${process.pid}`, text)
    renameSync(`${file}.${process.pid}`, file)
  }
  return ['-c', 'text=$(cat "$5"; echo .); eval "${text%.}"', 'varve', home, uid, store, bundles, file]
}

export interface Delta {
  /** What lies in the spool, where it is not the delta itself. */
  readonly spooled?: Uint8Array
  readonly file: string
  readonly tree: string
  readonly base: string
  /** What stands behind the first tar. */
  readonly frames?: Encoded['frames']
}

export async function readTree(directory: string): Promise<Tree> {
  const { tree } = await scanDirectory(byteString(directory), {
    hash: await makeHasher(),
    previous: undefined,
    onWarning: () => {},
  })
  if (tree === undefined) throw new Error(`${directory} was not read`)
  return tree
}

/** What a host is told to make `to` of `from`, in ways that may refer to the plan's base. */
export async function deltaBetween(
  from: string,
  to: string,
  { ways, ...options }: Omit<DeltaOptions, 'tree' | 'contents' | 'ways'> & { ways?: (base: string) => Ways },
): Promise<Delta> {
  const [base, target] = await Promise.all([from, to].map(async (directory) => {
    const tree = await readTree(directory)
    return { id: treeId(tree), tree }
  })) // prettier-ignore
  if (base === undefined || target === undefined) throw new Error('there are two trees')
  const plan = makePlan({ target, base, elsewhere: new Map(), stacked: false })
  const contents = (file: FileEntry): Buffer => readFileSync(join(to, file.path))
  const delta = encodeDelta(plan, { ...options, tree: target.tree, contents, ways: ways?.(base.id) ?? NO_WAYS })
  const chunks: Uint8Array[] = []
  for await (const chunk of delta.chunks) chunks.push(Buffer.from(chunk))
  const file = join(mkdtempSync(join(ground, 'delta-')), 'delta')
  writeFileSync(file, Buffer.concat(chunks))
  return { file, tree: target.id, base: plan.base ?? '-', frames: delta.frames }
}

/** A store with one generation of the container "app", and the delta to a second tree. */
export class Bench {
  readonly work = mkdtempSync(join(ground, 'bench-'))
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
    at: {
      shell: readonly string[]
      text: string
      expected: number
      number: number
      rootfs?: 'copy' | 'overlay'
      killAfterMs?: number
    },
  ): Promise<string> {
    const home = join(this.work, 'home')
    const spool = join(home, '.cache/varve/spool')
    mkdirSync(spool, { recursive: true })
    const bytes = readFileSync(delta.file)
    const sha = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(spool, sha), delta.spooled ?? bytes)
    const config = '{}'
    const frames = delta.frames?.() ?? []
    const first = bytes.length - frames.reduce((sum, { size }) => sum + size, 0)
    const behind = frames.map(({ size, raw }) => ` ${size}:${raw}`).join('')
    const requests = [
      `receive ${delta.tree} ${delta.base} ${sha} ${bytes.length} ${sha} none:${first} ${first}${behind}\n`,
      `activate app ${at.expected} ${at.number} ${delta.tree} ${at.rootfs ?? 'copy'} ${sha} ${config.length}\n${config}`,
    ]
    return this.ask(requests, at)
  }

  /** Killed, with all that it started, after `killAfterMs`. */
  ask(
    requests: readonly string[],
    { shell, text, killAfterMs }: { shell: readonly string[]; text: string; killAfterMs?: number },
  ): Promise<string> {
    const [program = '', ...args] = shell
    const given = evaluated(text, [join(this.work, 'home'), '0', this.store, join(this.work, 'bundles')])
    const child = spawn(program, [...args, ...given], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.on('error', () => {})
    // once it has ended there is no group of that number, or soon another's
    const kill = (): void => {
      if (child.pid !== undefined && child.exitCode === null && isAlive(child.pid)) process.kill(-child.pid, 'SIGKILL')
    }
    const timer = killAfterMs === undefined ? undefined : setTimeout(kill, killAfterMs)
    let said = ''
    let asked = 0
    // one request at a time: BusyBox head reads ahead
    const next = (): void =>
      void (asked < requests.length ? child.stdin.write(requests[asked++] ?? '') : child.stdin.end())
    next()
    return new Promise((resolve) => {
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString('latin1')
        const answers = said.split('\n').filter((line) => line === 'ok').length
        // like a client, it asks no more once it was refused
        if (/^die /m.test(said)) child.stdin.end()
        else if (asked <= answers && !child.stdin.writableEnded) next()
      })
      child.once('close', () => {
        clearTimeout(timer)
        resolve(said)
      })
    })
  }

  /** The number and tree of the current generation, its tree computed anew from the disk. Throws where it is not whole. */
  async current(): Promise<{ number: number; tree: string }> {
    const number = Number(/^gen\/(\d+)$/.exec(readlinkSync(join(this.store, 'c/app/current')))?.[1])
    const record = readFileSync(join(this.store, `c/app/gen/${number}`), 'latin1')
    const tree = /^stack ([0-9a-f]{64})\n(?:.*\n)*end\n$/.exec(record)?.[1] ?? ''
    if (treeId(await readTree(join(this.store, 'tree', tree, 'root'))) !== tree)
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
    if (readFileSync('/proc/self/mountinfo', 'latin1').includes(` ${this.store}/`))
      await varve(['rm', 'local:app', ...this.options])
    rmSync(this.work, { recursive: true, force: true })
  }
}

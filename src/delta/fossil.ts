// A fossil: a delta as a file, which is also the shell program that applies it on a host with nothing but sh and tar.
//
// A head of lines fossil_KEY='VALUE' and the program that starts it; behind them the runtime, config.json before and behind
// the path of the root filesystem, and the deltas, bottom first. What reads it finds all from the end of the file.
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

export type FossilDelta = {
  readonly tree: string
  readonly base: string | undefined
  readonly size: number
  readonly sha256: string
  readonly codec: string
  readonly raw: number
  readonly frames: readonly { readonly size: number; readonly raw: number }[]
}

export type Fossil = {
  readonly container: string
  /** What it was made against, in words. */
  readonly against: string
  /** Trees that the host must hold. */
  readonly needs: readonly string[]
  /** Commands that the host must have. */
  readonly tools: readonly string[]
  readonly stack: readonly string[]
  readonly rootfs: 'overlay' | 'copy'
  /** Of the text for the path "rootfs"; bytes of it before that path and behind. */
  readonly config: { readonly sha256: string; readonly head: number; readonly tail: number }
  readonly seen: { readonly entries: number; readonly bytes: number }
  readonly runtime: { readonly sha256: string; readonly size: number }
  readonly deltas: readonly FossilDelta[]
}

const VERSION = '2'
const MOST_HEAD = 1 << 20

/** What stands before the runtime. */
export function fossilHead(fossil: Fossil): Buffer {
  const { config, seen, runtime } = fossil
  const values = {
    version: VERSION,
    name: fossil.container,
    against: escapeControls(fossil.against, 0x7e).replaceAll("'", '"'),
    needs: fossil.needs.join(' '),
    tools: fossil.tools.join(' '),
    stack: fossil.stack.join(','),
    rootfs: fossil.rootfs,
    config: `${config.sha256} ${config.head} ${config.tail}`,
    seen: `${seen.entries} ${seen.bytes}`,
    runtime: `${runtime.sha256} ${runtime.size}`,
    deltas: fossil.deltas.map(deltaText).join(';'),
    payload: String(payloadOf(fossil)),
  }
  const lines = Object.entries(values).map(([key, value]) => `fossil_${key}='${value}'\n`)
  return Buffer.from(`${FIRST}${lines.join('')}${START}`, 'latin1')
}

function deltaText({ tree, base, size, sha256, codec, raw, frames }: FossilDelta): string {
  return [tree, base ?? '-', size, sha256, codec, raw, ...frames.map((frame) => `${frame.size}:${frame.raw}`)].join(' ')
}

function payloadOf({ runtime, config, deltas }: Fossil): number {
  return runtime.size + config.head + config.tail + deltas.reduce((sum, { size }) => sum + size, 0)
}

/** Where the parts stand in a file of `size` bytes: each delta, and config.json. Throws E_HASH where it was cut. */
export function fossilParts(
  fossil: Fossil,
  size: number,
  headSize: number,
): { readonly config: number; readonly deltas: readonly number[] } {
  if (size !== headSize + payloadOf(fossil))
    throw new VarveError('E_HASH', `cannot use the fossil: it has ${size} bytes, not ${headSize + payloadOf(fossil)}`, {
      hint: 'copy it again, or make it again with varve pack',
    })
  const config = headSize + fossil.runtime.size
  let at = config + fossil.config.head + fossil.config.tail
  const deltas = fossil.deltas.map((delta) => (at += delta.size) - delta.size)
  return { config, deltas }
}

/** Reads the head at the beginning of a file. Throws E_SOURCE for what is no fossil. */
export function readFossil(beginning: Uint8Array): { readonly fossil: Fossil; readonly headSize: number } {
  const text = Buffer.from(beginning.subarray(0, MOST_HEAD)).toString('latin1')
  const end = text.indexOf(START)
  if (!text.startsWith(FIRST) || end === -1) throw noFossil('it does not begin as one')
  const values = new Map<string, string>()
  for (const line of text.slice(FIRST.length, end).split('\n')) {
    const match = /^fossil_([a-z]+)='([^']*)'$/.exec(line)
    if (match !== null) values.set(match[1] ?? '', match[2] ?? '')
    else if (line !== '') throw noFossil('a line of its head is none')
  }
  const value = (key: string, form: RegExp): string => {
    const found = values.get(key)
    if (found === undefined || !form.test(found)) throw noFossil(`its "${key}" is none`)
    return found
  }
  if (values.get('version') !== VERSION) throw noFossil('it is of another version')
  const [configSum = '', head, tail] = value('config', /^[0-9a-f]{64} \d{1,9} \d{1,9}$/).split(' ')
  const [runtimeSum = '', runtimeSize] = value('runtime', /^[0-9a-f]{64} \d{1,9}$/).split(' ')
  const [entries, bytes] = value('seen', /^\d{1,15} \d{1,15}$/).split(' ')
  const fossil: Fossil = {
    container: value('name', /^[a-z0-9][a-z0-9_.-]{0,62}$/),
    against: value('against', /^[ -~]*$/),
    needs: words(value('needs', /^([0-9a-f]{64}( [0-9a-f]{64})*)?$/)),
    tools: words(value('tools', /^[a-z0-9 -]*$/)),
    stack: value('stack', /^[0-9a-f]{64}(,[0-9a-f]{64})*$/).split(','),
    rootfs: value('rootfs', /^(overlay|copy)$/) as Fossil['rootfs'],
    config: { sha256: configSum, head: Number(head), tail: Number(tail) },
    seen: { entries: Number(entries), bytes: Number(bytes) },
    runtime: { sha256: runtimeSum, size: Number(runtimeSize) },
    deltas: value('deltas', /^([0-9a-f]{64} ([0-9a-f]{64}|-) \d{1,15} [0-9a-f]{64} [a-z0-9:,+]{2,4000} \d{1,15}( \d{1,15}:\d{1,15})*(;(?=.)|$))*$/)
      .split(';')
      .filter((text) => text !== '')
      .map(readDelta),
  } // prettier-ignore
  return { fossil, headSize: end + START.length }
}

function words(text: string): string[] {
  return text === '' ? [] : text.split(' ')
}

function readDelta(text: string): FossilDelta {
  const [tree = '', base = '', size, sha256 = '', codec = '', raw, ...frames] = text.split(' ')
  return {
    tree,
    base: base === '-' ? undefined : base,
    size: Number(size),
    sha256,
    codec,
    raw: Number(raw),
    frames: frames.map((frame) => ({ size: Number(frame.split(':')[0]), raw: Number(frame.split(':')[1]) })),
  }
}

function noFossil(why: string): VarveError {
  return new VarveError('E_SOURCE', `cannot use the file as a fossil: ${why}`, {
    hint: 'varve pack SOURCE -o FILE makes one',
  })
}

const FIRST = `#!/bin/sh
# A varve fossil: what a host lacks of a container. There, as root: sh FILE [--store DIR] [--bundle-dir DIR] [NAME]
# From elsewhere: varve apply FILE HOST:NAME. It is a program: apply what you have made yourself or trust.
`
const START = `
fossil_say() { printf 'varve: %s\\n' "$1" >&2; exit "$2"; }
fossil_usage() { fossil_say "cannot use \\"$1\\": the words are [--store DIR] [--bundle-dir DIR] [NAME]" 2; }
fossil_store=/var/lib/varve fossil_bundles=/var/lib/machines
while [ $# -gt 0 ]; do
  case $1 in
  --store) fossil_store=\${2-} ;;
  --bundle-dir) fossil_bundles=\${2-} ;;
  [!a-z0-9]* | '' | *[!a-z0-9_.-]*) fossil_usage "$1" ;;
  *) fossil_name=$1 && shift && continue ;;
  esac
  case \${2-} in /*[!A-Za-z0-9_./-]* | [!/]* | '' | *..*) fossil_usage "$1 \${2-}" ;; esac
  shift 2
done
case $0 in /*) fossil_file=$0 ;; *) fossil_file=$PWD/$0 ;; esac
[ -f "$fossil_file" ] || fossil_say "cannot read \\"$0\\": run it as sh FILE" 2
[ "$(id -u)" = 0 ] || fossil_say "cannot apply \\"$0\\": uid $(id -u) is not root (sudo sh $0)" 4
fossil_part() { tail -c "$1" "$fossil_file" 2>/dev/null | head -c "$2"; }
runtime_id=\${fossil_runtime% *}
runtime_text=$(fossil_part "$fossil_payload" "\${fossil_runtime#* }"; echo .)
runtime_text=\${runtime_text%.}
fossil_sum=$(printf %s "$runtime_text" | sha256sum)
[ "\${fossil_sum%% *}" = "$runtime_id" ] || fossil_say "cannot apply \\"$0\\": it was damaged or cut (copy it again)" 3
set -- "\${HOME:-/root}" 0 "$fossil_store" "$fossil_bundles"
eval "$runtime_text"
exit
`

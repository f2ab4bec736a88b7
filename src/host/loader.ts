// The command line that starts the runtime as root: it finds the runtime by its hash, or takes it from standard input.
import { readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { quote } from './quote.ts'

const PARTS = [
  'prelude',
  'probe',
  'inventory',
  'usage',
  'service',
  'config',
  'engine',
  'health',
  'persist',
  'run',
  'boot',
  'attach',
  'manifest',
  'outline',
  'signatures',
  'patch',
  'copies',
  'same',
  'frames',
  'build',
  'receive',
  'activate',
  'converge',
  'rollback',
  'verify',
  'gc',
  'rm',
]

export type Runtime = { readonly text: Buffer; readonly id: string }

/** The runtime's shell programs as one, and its SHA-256. */
export function loadRuntime(): Runtime {
  return joined([...PARTS, 'serve'])
}

/** The same for a host that nobody is connected to: it applies the fossil that it stands in. */
export function loadFossilRuntime(): Runtime {
  return joined([...PARTS, 'fossil'])
}

function joined(parts: readonly string[]): Runtime {
  const text = Buffer.concat(parts.map((part) => readFileSync(new URL(`../runtime/${part}.sh`, import.meta.url))))
  return { text, id: createHash('sha256').update(text).digest('hex') }
}

/*
 * As root, with the words HOME UID STORE BUNDLES ID MARK REQUEST, the first request or nothing: says "MARK have" or "MARK need".
 * Where the store has no runtime of that hash, a line with its length and the text follow on standard input, and "MARK ready"
 * comes before anything more may: BusyBox head reads ahead. What is hashed is what runs, not a second reading of the file.
 * No line break, no backslash, no exclamation mark: the login shell may be any.
 */
const LOAD = [
  'umask 077; unset ENV BASH_ENV CDPATH; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; cd /',
  'runtime_id=$5; f="$3/runtime/$5.sh"; w=need',
  'if [ -f "$f" ]; then runtime_text=$(cat "$f"; echo .); runtime_text=${runtime_text%.}; s=$(printf %s "$runtime_text" | sha256sum); if [ "${s%% *}" = "$5" ]; then w=have; fi; fi',
  'echo "$6 $w"',
  'if [ $w = have ]; then eval "$runtime_text"; else read -r n; runtime_text=$(head -c "$n"; echo .); runtime_text=${runtime_text%.}',
  's=$(printf %s "$runtime_text" | sha256sum); if [ "${s%% *}" = "$5" ]; then echo "$6 ready"; eval "$runtime_text"; else echo "die E_PROTO the runtime arrived damaged"; fi; fi',
].join('; ')

/* As the login user, with the words LOAD PROMPT MARK STORE BUNDLES ID REQUEST: becomes root by the way that is there, whose refusals are read in English. */
const BECOME = [
  'u=$(id -u); LC_ALL=C; export LC_ALL',
  'set -- "$1" "$2" "$3" "$HOME" "$u" "$4" "$5" "$6" "$7"',
  'if [ "$u" = 0 ]; then exec /bin/sh -c "$1" varve "$4" "$5" "$6" "$7" "$8" "$3" "$9"',
  'elif command -v sudo >/dev/null 2>&1; then exec sudo -k -S -p "$2" -- /bin/sh -c "$1" varve "$4" "$5" "$6" "$7" "$8" "$3" "$9"',
  'elif command -v doas >/dev/null 2>&1; then exec doas -n /bin/sh -c "$1" varve "$4" "$5" "$6" "$7" "$8" "$3" "$9"',
  'else echo "$3 noroot"; fi',
].join('; ')

export function rootCommand(words: {
  prompt: string
  mark: string
  store: string
  bundles: string
  id: string
  request: string
}): string {
  return `exec ${quote(['/bin/sh', '-c', BECOME, 'varve', LOAD, words.prompt, words.mark, words.store, words.bundles, words.id, words.request])}`
}

/*
 * As the login user, with the words NAME OLD...: standard input becomes the spool file NAME; says "NAME SIZE". Where lost
 * connections may have left some of it as an OLD, it first says "NAME has SIZE SHA256" of the first that is there, and takes a
 * line: `go` where it is to be gone on with, `no` where it is to be forgotten. What still writes to OLD writes the same bytes
 * at the same places. What the checks saw is where the shell stands, so that nobody can swap it afterwards. What nobody went
 * on with goes after a day.
 */
const UPLOAD = [
  'umask 077; d=$HOME/.cache/varve; if [ -L "$d" ] || [ -L "$d/spool" ]; then exit 9; fi',
  'mkdir -p "$d/spool" || { [ -e "$d/spool" ] && exit 9; exit 8; }',
  'cd "$d/spool" && [ -O . ] && [ -O .. ] || exit 9; chmod 700 . .. || exit 8',
  'find . -type f -mtime +0 -exec rm -f {} +',
  'w=anew; n=$1; shift; if [ $# -gt 0 ]; then for o do mv "$o" "$n.part" || mv "$o.part" "$n.part" || continue; break; done 2>/dev/null',
  'touch "$n.part"; if [ -L "$n.part" ]; then exit 9; fi',
  's=$(sha256sum <"$n.part"); echo "$n has $(wc -c <"$n.part") ${s%% *}"; read -r w || exit 8; if [ "$w" = no ]; then rm -f "$n.part"; exit; fi; fi',
  'if [ "$w" = go ]; then cat >>"$n.part"; else cat >"$n.part"; fi && mv "$n.part" "$n" && echo "$n $(wc -c <"$n")"',
].join('; ')

export function uploadCommand(name: string, begun: readonly string[]): string {
  return `exec ${quote(['/bin/sh', '-c', UPLOAD, 'varve', name, ...begun])}`
}

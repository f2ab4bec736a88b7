// Who says nothing of health gets one second of life asked for, whatever the pace of the host that looks at it.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const health = join(import.meta.dirname, '../../src/runtime/health.sh')

/** A clock that goes on each time that it is read stands for a host that is busy with others between two commands. */
const script = `. "$0"
is_alive() { [ "$now" -lt "\${dies-1000}" ]; }
nap() { :; }
ended() { why='it ended'; }
now=0
ticks() { read -r now <"$clock"; echo "$((now + step))" >"$clock"; printf %s "$now"; }
clock=$(mktemp)
for step in 1 7 33 50 99 100 101 250; do
  echo 0 >"$clock"
  is_well app none 1 || echo "$step: $why"
done
step=40 dies=0
is_well app none 1 || echo "dead: $why"
rm "$clock"`

test.each([['dash'], ['bash', '--posix'], ['busybox', 'ash']])('is_well() of what lives for a second is true under %s %s', (...shell) => {
  const [command = '', ...words] = shell.filter((word) => typeof word === 'string')
  const { stdout, stderr } = spawnSync(command, [...words, '-c', script, health], { encoding: 'utf8' })
  expect([stdout, stderr]).toEqual(['dead: it ended\n', ''])
}) // prettier-ignore

#!/usr/bin/env node
// The command: hands the process to the command line in dist/.
import { existsSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'

const built = new URL('../dist/command/main.js', import.meta.url)
if (!existsSync(built)) {
  process.stderr.write('varve: not built yet: dist/ is missing\n  run: npm run build\n')
  process.exit(1)
}
// a heap of 60 % more than what lives, not four times as much: 100,000 files fit into 400 MB
setFlagsFromString('--heap-growing-percent=60')
// trees outlive many collections of what is young, which would begin at 1 MB
for (const most of ['min', 'max']) setFlagsFromString(`--${most}-semi-space-size=32`)
const { main } = await import(built.href)
await main(process)
// a connection that is being closed must not keep the process, but what was said must be out
process.stdout.write('', () => process.stderr.write('', () => process.exit()))

#!/usr/bin/env node
// The command: hands the process to the command line in dist/.
import { existsSync } from 'node:fs'

const built = new URL('../dist/cli/main.js', import.meta.url)
if (!existsSync(built)) {
  process.stderr.write('varve: not built yet: dist/ is missing\n  run: npm run build\n')
  process.exit(1)
}
const { main } = await import(built.href)
await main(process)

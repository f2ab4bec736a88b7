// One file of our own modules, since a process that loads 130 of them starts later. Packages stay packages. It lies as deep
// below dist/ as the modules did, and what they read by import.meta.url is found from there.
import { defineConfig } from 'rolldown'

export default defineConfig({
  input: ['dist/cli/main.js', 'dist/delta/worker.js'],
  external: /^[@a-z]/,
  platform: 'node',
  output: { dir: 'dist/command' },
})

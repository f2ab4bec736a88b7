// How the tests run: in forked processes, since a host dies with the thread that started it.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // files of tests watch what others leave behind: devices, mounts, processes
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    globalSetup: ['test/fixture/global-setup.ts'],
  },
})

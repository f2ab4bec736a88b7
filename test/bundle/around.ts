// What the tests of config.json have around them: hosts of several kinds, and configs as engines write them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseObject, type JsonObject } from '../../src/bundle/document.ts'
import type { Around } from '../../src/bundle/rewrites.ts'
import type { Facts } from '../../src/model/engine.ts'

/** A host that has everything, with cgroups of version 1. */
export const HOST: Facts = {
  cgroup: 'v1',
  controllers: new Set(['memory', 'cpu', 'cpuset', 'pids', 'blkio', 'hugetlb', 'rdma']),
  seccomp: true,
  apparmor: true,
  selinux: true,
  limits: new Map([['NOFILE', 1048576n]]),
  files: new Set(['/etc/resolv.conf', '/etc/hosts']),
}

export const AROUND: Around = {
  container: 'app',
  engine: 'runc',
  facts: HOST,
  network: { kind: 'host' },
  made: false,
  foreign: false,
  volumes: new Map(),
  covered: new Set(),
}

/** As dockerd 20.10 and Podman 4.3 wrote them for a running container; each has a volume. */
export const FIXTURES = { 'docker-20.10': '/data', 'podman-4.3': '/museum' } as const

export function fixture(name: string): JsonObject {
  return parseObject(readFileSync(join(import.meta.dirname, 'fixtures', `${name}.json`), 'utf8'), name)
}

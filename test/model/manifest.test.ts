// The canonical manifest: what the host's own tools print, and what is read back.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { byteString } from '../../src/model/bytes.ts'
import type { Entry } from '../../src/model/entry.ts'
import { decimalSeconds, decodeManifest, encodeManifest } from '../../src/model/manifest.ts'
import { makeTree } from '../../src/model/tree.ts'
import { scanDirectory } from '../../src/source/directory.ts'
import { makeHasher } from '../../src/store/hash.ts'
import { makeOddTree } from '../fixture/rootfs.ts'

let work: string
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'varve-manifest-'))
  await makeOddTree(join(work, 'odd'))
  for (const linked of ['links/symlink-hardlinked', 'specials/fifo-hardlinked']) rmSync(join(work, 'odd', linked))
  mkdirSync(join(work, 'store/tx'), { recursive: true })
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

const runtime = (part: string): string => join(import.meta.dirname, '../../src/runtime', `${part}.sh`)

test.each([['dash'], ['bash', '--posix'], ['busybox', 'ash']])(
  'encodeManifest() is what write_manifest prints under %s %s',
  async (...shell) => {
    const hash = await makeHasher()
    // BusyBox's own applets know whole seconds, and its xargs cuts paths of some thousand bytes
    if (shell[0] === 'busybox')
      execFileSync('sh', ['-c', 'rm -r "$0/deep"; find "$0" -exec touch -h -d @1600000000 {} +', join(work, 'odd')])
    const { tree } = await scanDirectory(byteString(join(work, 'odd')), {
      hash,
      previous: undefined,
      onWarning: () => {},
    })
    const own = [...encodeManifest(tree ?? { entries: [] })].join('')
    const script = `. ${runtime('prelude')}; . ${runtime('manifest')}; write_manifest "$5"`
    const theirs = execFileSync(
      shell[0] ?? '',
      [...shell.slice(1), '-c', script, 'varve', '/root', '0', join(work, 'store'), '/x', join(work, 'odd')],
      { maxBuffer: 1 << 30 },
    )
    expect(theirs.toString('latin1')).toBe(own)
  },
)

test('decodeManifest() reads back what encodeManifest() wrote', () => {
  const bytes = fc
    .string({
      unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 12,
    })
    .map(byteString)
  const name = bytes.filter((text) => !text.includes('/') && text !== '.' && text !== '..')
  const meta = fc.record({
    mode: fc.nat(0o7777),
    uid: fc.nat(4294967294),
    gid: fc.nat(4294967294),
    mtimeNs: fc.bigInt(-(10n ** 18n), 10n ** 19n),
    xattrs: fc
      .uniqueArray(fc.record({ name: bytes, value: bytes }), { selector: ({ name }) => name, maxLength: 3 })
      .map((list) => list.toSorted((a, b) => (a.name < b.name ? -1 : 1))),
  })
  const kinds = fc.oneof(
    fc.record({
      kind: fc.constant('file' as const),
      size: fc.nat(),
      sha256: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((raw) => Buffer.from(raw).toString('hex')),
    }),
    fc.record({ kind: fc.constant('symlink' as const), target: bytes }),
    fc.record({
      kind: fc.constantFrom('char' as const, 'block' as const),
      major: fc.nat(4095),
      minor: fc.nat(1_048_575),
    }),
  )
  fc.assert(
    fc.property(
      meta,
      fc.uniqueArray(fc.tuple(name, meta, kinds), { selector: ([path]) => path, maxLength: 8 }),
      (root, list) => {
        const entries = list.map(
          ([path, own, kind]) => ({ path, ...own, ...kind, ...(kind.kind === 'file' ? { first: path } : {}) }) as Entry,
        )
        const tree = makeTree([{ kind: 'directory', path: byteString(''), ...root }, ...entries])
        expect(decodeManifest(byteString([...encodeManifest(tree)].join('')))).toEqual(tree)
      },
    ),
  )
})

test.each([
  [0n, '0.000000000'],
  [-1_500_000_000n, '-1.500000000'],
  [-1n, '-0.000000001'],
  [4_294_967_297_123_456_789n, '4294967297.123456789'],
])('decimalSeconds() prints %s as stat does', (ns, text) => {
  expect(decimalSeconds(ns)).toBe(text)
})

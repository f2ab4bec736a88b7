// The bench's page and its joined results: names are escaped, nothing is fetched, what was measured again counts.
import { expect, test } from 'vitest'
import { pageOf } from '../../bench/page.ts'
import { joined, type Results } from '../../bench/results.ts'
import type { Measured } from '../../bench/redeploy.ts'
import { tableOf } from '../../bench/table.ts'

const measured = (link: string, sent: number, reckoned = false): Measured => ({
  pair: 'go',
  peer: 'rsync',
  link,
  sent,
  received: 5,
  seconds: 12.34,
  reckoned,
})

function results(...all: Measured[]): Results {
  return {
    schemaVersion: 1,
    date: '2026-01-02T03:04:05Z',
    machine: { processor: 'P', cores: 2, kernel: 'K', node: 'N' },
    versions: { rsync: '<3>' },
    pairs: [{ name: 'go', title: 'a "<b>" & c', old: '/o', new: '/n', about: ["<i>'"], newBytes: 2e6, changedBytes: 1e6, beside: false }], // prettier-ignore
    peers: [{ name: 'rsync', title: 'r<s>', note: '-e "ssh"' }],
    links: [...new Set(all.map(({ link }) => link))].map((name) => ({ name, title: `<${name}>` })),
    measured: all,
    failed: [{ pair: 'go', peer: 'rsync', error: '<boom>' }],
  }
}

test('pageOf() escapes all names and refers to nothing outside', () => {
  const page = pageOf(results(measured('loopback', 1000), measured('1m', 1000, true)))
  expect(page).toContain('a &quot;&lt;b&gt;&quot; &amp; c')
  for (const raw of ['<b>"', 'r<s>', '<i>', '<3>', '<boom>', '<1m>']) expect(page).not.toContain(raw)
  expect(page).not.toMatch(/https?:|<script|<link|\bsrc=|@import|url\(/)
})

test('pageOf() draws a hollow mark for each time that was reckoned', () => {
  expect(pageOf(results(measured('loopback', 1000)))).not.toContain(' hollow"')
  expect(pageOf(results(measured('loopback', 1000), measured('1m', 1000, true))).match(/ hollow"/g)).toHaveLength(1)
})

test('tableOf() tells bytes of both ways, and marks what was reckoned', () => {
  const table = tableOf(results(measured('loopback', 1_000_000), measured('1m', 1_000_000, true)))
  expect(table).toMatch(/r<s> +1,000,005 +12\.3 +1,000,005 +≥ 12\n/)
})

test('joined() keeps what was not measured again', () => {
  const before = results(measured('loopback', 1), measured('1m', 2))
  const now = joined({ ...results(measured('loopback', 3)), failed: [] }, before)
  expect(now.measured).toEqual([measured('loopback', 3), measured('1m', 2)])
  expect(now.links.map(({ name }) => name)).toEqual(['loopback', '1m'])
  expect(now.failed).toEqual([])
})

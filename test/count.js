// Prints which tests failed or were skipped, and the one line that counts them, from the test runner's own reports of its shards
// and from those of the other versions of Node.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [reports, shards] = process.argv.slice(2)
let [passed, failed, skipped] = [0, 0, 0]
for (let shard = 1; shard <= Number(shards); shard++) {
  const file = join(reports, `${shard}.json`)
  if (!existsSync(file)) {
    console.log(`failed: shard ${shard} of ${shards} ended without a report`)
    failed++
    continue
  }
  const report = JSON.parse(readFileSync(file, 'utf8'))
  passed += report.numPassedTests
  skipped += report.numPendingTests
  failed += Math.max(report.numFailedTests, report.numFailedTestSuites > 0 ? 1 : 0)
  for (const { name, message, status, assertionResults } of report.testResults) {
    if (status === 'failed' && message) console.log(`failed: ${name}: ${message.split('\n')[0]}`)
    for (const test of assertionResults.filter((result) => result.status !== 'passed')) {
      console.log(`${test.status}: ${name}: ${test.fullName}`)
      for (const text of test.failureMessages ?? []) console.log(`    ${text.slice(0, 500).replaceAll('\n', '\n    ')}`)
    }
  }
}
const versions = join(reports, 'node')
const lines = existsSync(versions) ? readFileSync(versions, 'utf8').split('\n') : []
passed += lines.filter((line) => line === 'passed').length
failed += lines.filter((line) => line === 'failed').length
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
if (failed > 0 || (skipped > 0 && process.env.CI)) process.exitCode = 1

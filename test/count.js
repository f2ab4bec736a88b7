// Prints which tests failed and were skipped, and the one line that counts them, from the test runner's own report and
// that of the other versions of Node.
import { existsSync, readFileSync } from 'node:fs'

const [report, versions] = process.argv.slice(2)
const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites, testResults } = JSON.parse(
  readFileSync(report, 'utf8'),
)
for (const { name, message, status, assertionResults } of testResults) {
  if (status === 'failed' && message) console.log(`failed: ${name}: ${message.split('\n')[0]}`)
  for (const test of assertionResults) {
    if (test.status === 'passed') continue
    console.log(`${test.status}: ${name}: ${test.fullName}`)
    for (const text of test.failureMessages ?? []) console.log(`    ${text.slice(0, 500).replaceAll('\n', '\n    ')}`)
  }
}
const lines = existsSync(versions) ? readFileSync(versions, 'utf8').split('\n') : []
const passed = numPassedTests + lines.filter((line) => line === 'passed').length
const failed =
  Math.max(numFailedTests, numFailedTestSuites > 0 ? 1 : 0) + lines.filter((line) => line === 'failed').length
console.log(`${passed} passed, ${failed} failed${numPendingTests > 0 ? `, ${numPendingTests} skipped` : ''}`)
if (numPendingTests > 0 && process.env.CI) process.exitCode = 1

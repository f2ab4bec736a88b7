// Prints the one line that counts the tests, from the test runner's own report and that of the other versions of Node.
import { existsSync, readFileSync } from 'node:fs'

const [report, versions] = process.argv.slice(2)
const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites } = JSON.parse(
  readFileSync(report, 'utf8'),
)
const lines = existsSync(versions) ? readFileSync(versions, 'utf8').split('\n') : []
const passed = numPassedTests + lines.filter((line) => line === 'passed').length
const failed =
  Math.max(numFailedTests, numFailedTestSuites > 0 ? 1 : 0) + lines.filter((line) => line === 'failed').length
console.log(`${passed} passed, ${failed} failed${numPendingTests > 0 ? `, ${numPendingTests} skipped` : ''}`)
if (numPendingTests > 0 && process.env.CI) process.exitCode = 1

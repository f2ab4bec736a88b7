#!/bin/bash
# run.sh — the tests, from nothing but Debian 12 with Node and apt: installs, builds, checks, runs all tests.
#
# usage: test/run.sh        needs root, or sudo; safe to repeat. The last line counts what the test runner reported.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || exec sudo --preserve-env -- env "PATH=$PATH" "HOME=$HOME" bash "$0" "$@"

test/fixture/prepare.sh
test/install.sh
echo '== types, lint, format, unused code, shell'
npm run --silent lint
npm run --silent build
echo '== tests'
report=$(mktemp)
trap 'rm -f "$report" "$report.node"' EXIT
status=0
test/fixture/run.sh npx vitest run --reporter=default --reporter=json --outputFile.json="$report" || status=$?
echo '== other versions of Node'
test/node-versions.sh "$report.node" || status=$?
node test/count.js "$report" "$report.node"
exit "$status"

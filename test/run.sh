#!/bin/bash
# run.sh — the tests, from nothing but Debian 12 with Node and apt: installs, builds, checks, runs all tests.
#
# usage: test/run.sh        needs root, or sudo; safe to repeat. The last line counts what the test runner reported.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || exec sudo --preserve-env -- env "PATH=$PATH" "HOME=$HOME" bash "$0" "$@"

test/fixture/prepare.sh
test/fixture/zstd.sh
test/install.sh
echo '== types, lint, format, unused code, shell'
npm run --silent lint
npm run --silent build
echo '== tests'
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
status=0
shards=8
cores=$(nproc)
# shellcheck disable=SC2016 # the inner shell expands
# the last one takes the longest
seq "$shards" -1 1 | setpriv --pdeathsig KILL xargs -P "$((cores < 4 ? cores : 4))" -n 1 setpriv --pdeathsig KILL sh -c '
  test/fixture/run.sh npx vitest run --shard="$2/$1" --reporter=default --reporter=json --outputFile.json="$0/$2.json" >"$0/$2.log" 2>&1
  status=$?
  flock "$0" cat "$0/$2.log"
  exit "$status"' "$reports" "$shards" || status=1
echo '== other versions of Node'
test/node-versions.sh "$reports/node" || status=1
node test/count.js "$reports" "$shards"
exit "$status"

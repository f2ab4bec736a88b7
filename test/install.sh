#!/bin/bash
# install.sh — npm packages as the lock file has them, native ones built; nothing to do where they are there already.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
stamp=node_modules/.varve-installed
want=$(cat package-lock.json <(node --version) | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" != "$want" ] || exit 0
echo 'installing: npm packages (native ones are compiled: about 3 minutes)'
npm ci --no-audit --no-fund
node -e "import('better-sqlite3').then(({ default: Database }) => new Database(':memory:').close())"
echo "$want" >"$stamp"

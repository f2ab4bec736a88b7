#!/bin/bash
# install.sh — npm packages as the lock file has them, native ones built; nothing to do where they are there already.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
stamp=node_modules/.varve-installed
want=$(cat package-lock.json <(node --version) | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" != "$want" ] || exit 0
echo 'installing: npm packages (native ones are compiled: about 3 minutes)'
# the headers that came with this Node, where they did: nothing to download then
prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
[ ! -e "$prefix/include/node/node.h" ] || export npm_config_nodedir=${npm_config_nodedir:-$prefix}
npm ci --no-audit --no-fund
node -e "import('better-sqlite3').then(({ default: Database }) => new Database(':memory:').close())"
echo "$want" >"$stamp"

#!/bin/bash
# run.sh — builds varve and the bench, then measures in namespaces of its own.
#
# usage: bench/run.sh [ssh] [layers] [local]        all when none is named; needs root, or sudo
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || exec sudo --preserve-env -- env "PATH=$PATH" "HOME=$HOME" bash "$0" "$@"
test/fixture/prepare.sh
test/install.sh
npm run --silent build
out=node_modules/.bench
rm -rf "$out"
npx tsc --noEmit false --outDir "$out" --rootDir .
mkdir -p "$out/test/fixture"
cp test/fixture/*.sh "$out/test/fixture/"
ln -s "$PWD/bin" "$PWD/dist" "$out/"
exec test/fixture/run.sh node "$out/bench/run.js" "$@"

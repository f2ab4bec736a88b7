#!/bin/bash
# run.sh — builds varve and the bench, then measures in namespaces of its own.
#
# usage: npm run bench -- [--help | WORDS]        needs root, or sudo
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || exec sudo --preserve-env -- env "PATH=$PATH" "HOME=$HOME" bash "$0" "$@"

# the peers that no test needs
packages=(casync ostree borgbackup)

{
	test/fixture/prepare.sh
	lacking=()
	for package in "${packages[@]}"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || lacking+=("$package")
	done
	if [ ${#lacking[@]} -gt 0 ]; then
		printf 'installing: %s\n' "${lacking[@]}"
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${lacking[@]}" >/dev/null
	fi
	test/install.sh
} >&2
npm run --silent build
out=node_modules/.bench
rm -rf "$out"
npx tsc --noEmit false --outDir "$out" --rootDir .
mkdir -p "$out/test/fixture"
cp test/fixture/*.sh "$out/test/fixture/"
cp bench/*.sh "$out/bench/"
ln -s "$PWD/bin" "$PWD/dist" "$out/"
node "$out/bench/run.js" --build "$@"
exec test/fixture/run.sh node "$out/bench/run.js" "$@"

#!/bin/bash
# node-versions.sh — runs the built command and a part of the tests under the other versions of Node that are supported.
#
# usage: node-versions.sh REPORT    appends to REPORT a line "passed" or "failed" for each version
# The npm package "node" brings the binaries and their headers; native packages are compiled once a version and kept.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
cache=${VARVE_TEST_CACHE:-/var/cache/varve-test}
key=$(sha256sum <package-lock.json | cut -c1-12)
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT

install() {
	rm -rf "$home"
	mkdir -p "$home/node" "$home/project"
	(cd "$home/node" && npm init -y >/dev/null && npm install --no-audit --no-fund "node@$version" >/dev/null)
	cp package.json package-lock.json "$home/project/"
	binaries=$(dirname "$(find "$home/node" -type f -path '*/node-linux-*/bin/node')")
	(cd "$home/project" && PATH=$binaries:$PATH npm_config_nodedir=${binaries%/bin} npm ci --no-audit --no-fund >/dev/null)
	echo "$binaries" >"$home/ready"
}

check() {
	local copy=$copies/$version
	mkdir "$copy"
	cp -a bin dist src test package.json tsconfig.json vitest.config.ts "$copy/"
	ln -s "$home/project/node_modules" "$copy/node_modules"
	cd "$copy"
	PATH=$(cat "$home/ready"):$PATH test/fixture/run.sh node_modules/.bin/vitest run \
		test/model test/store test/source test/tar test/e2e/push.test.ts --reporter=dot --no-color
}

failed=0
for version in 22 24; do
	home=$cache/node-$version-$key
	if [ ! -e "$home/ready" ]; then
		echo "installing: node@$version and the packages built for it"
		install
	fi
	check >"$copies/$version.log" 2>&1 &
	declare "check_$version=$!"
done
for version in 22 24; do
	check=check_$version
	if wait "${!check}"; then result=passed; else result=failed failed=1; fi
	echo "== node@$version: $result"
	cat "$copies/$version.log"
	echo "$result" >>"$1"
done
exit "$failed"

#!/bin/bash
# demo.sh — the main job, twice: pushes a real Debian root filesystem to this machine, changes a file, pushes again.
#
# usage: bench/demo.sh      from nothing but Debian 12 with Node and apt; needs root, or sudo; safe to repeat
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || exec sudo --preserve-env -- env "PATH=$PATH" "HOME=$HOME" bash "$0" "$@"

prepared=$(test/fixture/prepare.sh | tee /dev/stderr | sed -n 's/^base trees: \([^ ]*\) .*/\1/p')
if ! command -v runc >/dev/null; then
	echo 'installing: runc'
	apt-get install -qq --no-install-recommends runc >/dev/null
fi
test/install.sh
npm run --silent build

work=$(mktemp -d "${TMPDIR:-/var/tmp}/varve-demo.XXXXXX")
varve() { node bin/varve.js "$@" --store "$work/store" --bundle-dir "$work/bundles" --state-dir "$work/state" --progress off; }
cleanup() {
	varve rm local:demo -q 2>/dev/null || :
	rm -rf "$work"
}
trap cleanup EXIT
cp -a "$prepared/rootfs-debian" "$work/rootfs"

printf '\n== the first push\n'
varve push "rootfs:$work/rootfs" local:demo --cmd /bin/cat /etc/motd.demo
printf '\n== one file changed, the second push\n'
echo 'hello from the second generation' >"$work/rootfs/etc/motd.demo"
varve push "rootfs:$work/rootfs" local:demo --cmd /bin/cat /etc/motd.demo --json >"$work/second.json"
second=$(node -e "console.log(JSON.parse(require('fs').readFileSync('$work/second.json')).data.bytes.delta)")
classic=$(tar -C "$work/rootfs" -c . | gzip -c | wc -c)
printf 'varve sent    %12s bytes\n' "$second"
printf 'tar | gzip is %12s bytes: what the classic script sends every time\n' "$classic"
printf '\n== runc run demo\n'
(cd "$work/bundles/demo" && runc run "varve-demo-$$" </dev/null)
printf '\n== status\n'
varve status local

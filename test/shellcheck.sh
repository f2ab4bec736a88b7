#!/bin/bash
# Runs shellcheck over every shell program; the runtime as the one text that it is on a host.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
runtime=$(mktemp --suffix=.sh)
trap 'rm -f "$runtime"' EXIT
# the order is that of src/host/loader.ts
for part in $(sed -n "/^const PARTS/,/]/p" src/host/loader.ts | grep -o "'[a-z]*'" | tr -d "'"); do cat "src/runtime/$part.sh"; done >"$runtime"
[ -s "$runtime" ]
# the later of two would take the place of the earlier without a word
twice=$(grep -oE '^[a-z_0-9]+\(\)' "$runtime" | sort | uniq -d)
[ -z "$twice" ] || {
  echo "the runtime has two functions of one name: $twice" >&2
  exit 1
}
# SC2016: inner shells expand; SC2030, SC2031: subshells keep what they set; SC2015: `|| die` ends it whichever failed;
# SC2013: ids hold no blanks; SC2154: the loader sets runtime_id
shellcheck --shell=sh --severity=style --exclude=SC2016,SC2030,SC2031,SC2015,SC2013,SC2154 "$runtime"
git ls-files -co --exclude-standard '*.sh' .ci/run | grep -v '^src/runtime/' | xargs shellcheck --severity=style

# Tells what the manifests of the store say: as hashes of groups of their lines, as some lines, or whole.

# outline SAMPLE|- OWN|- [TREES ...]: what a client that does not know these trees needs to tell what it knows of them.
# SAMPLE is the first ten digits each of contents that it looks for; OWN and TREES are stacks. For OWN, and for TREES that
# hold what no other stack before holds, it says "like NUMBER HITS" and for each tree "outline ID GROUP LINES"; the payload
# has a line for each GROUP lines of each of these manifests: the first ten digits of their SHA-256.
verb_outline() {
  case $1 in *[!0-9a-f,-]*) die E_PROTO 'cannot use a sample: it is no list of digits' ;; esac
  sample=$1
  shift
  for trees; do [ "$trees" = - ] || need_stack "$trees"; done
  open_scratch
  (cd "$store/tree" && awk -v sample="$sample" "$likely_awk" "$@") >"$own/likely" || die E_IO 'cannot read the manifests of trees'
  told=
  while read -r place hits trees; do
    printf 'like %s %s\n' "$place" "$hits"
    for id in $(trees_of "$trees"); do
      case " $told " in *" $id "*) continue ;; esac
      told="$told $id"
      [ ! -e "$store/tree/$id/ok" ] || outline "$id"
    done
  done <"$own/likely"
  [ ! -e "$own/outline" ] || say_file "$own/outline"
}

# Where a manifest is long its groups are larger, so that there are not too many.
outline() {
  lines=$(wc -l <"$store/tree/$1/manifest" | tr -d ' ') || die E_IO "cannot read the manifest of tree $1"
  group=$((lines / 4096 + 1))
  [ "$group" -gt 16 ] || group=16
  mkdir "$own/groups" && (cd "$own/groups" && awk -v group="$group" "$groups_awk" "$store/tree/$1/manifest" && sha256sum -- * 2>/dev/null) | cut -c1-10 >>"$own/outline"
  rm -rf "$own/groups"
  printf 'outline %s %s %s\n' "$1" "$group" "$lines"
}

# manifest ID [actual|LINES]: the stored manifest, or one made anew from the disk, as a payload; or of the stored one only
# LINES, which are FROM-TO,FROM-TO... in their order.
verb_manifest() {
  need_id "$1"
  case ${2-actual} in actual) ;; *[!0-9,-]*) die E_PROTO 'cannot use a list of lines: it is none' ;; esac
  stored=$store/tree/$1/manifest
  [ -e "$store/tree/$1/ok" ] || die E_BASE_MISSING "cannot read tree $1: the host has none"
  open_scratch
  case ${2-} in
  actual) write_manifest "$store/tree/$1/root" "$store/tree/$1/xattrs" >"$own/manifest" || die E_IO "cannot read tree $1" ;;
  '') cp "$stored" "$own/manifest" || die E_IO "cannot read the manifest of tree $1" ;;
  *) awk -v ranges="$2" "$lines_awk" "$stored" >"$own/manifest" || die E_IO "cannot read the manifest of tree $1" ;;
  esac
  say_file "$own/manifest"
}

open_scratch() {
  own=$(scratch) || die E_IO "cannot write below $store/tx"
  trap 'rm -rf "$own"' EXIT
}

# A file as a payload, in a codec that every client undoes.
say_file() {
  if has zstd; then zstd -q -9 -c "$1" >"$1.packed"; else gzip -9 -c "$1" >"$1.packed"; fi || die E_IO 'cannot compress an answer'
  printf 'payload %s\n' "$(stat -c %s "$1.packed")" && cat "$1.packed"
}

# The first stack, then the one that holds most of what is left of the sample, as long as there is one.
likely_awk='
BEGIN {
  count = split(sample, wanted, ",")
  for (i = 1; i <= count; i++) place[wanted[i]] = i
  for (stack = 1; stack < ARGC; stack++) {
    size = split(ARGV[stack], trees, ",")
    for (t = 1; t <= size; t++) {
      manifest = trees[t] "/manifest"
      while ((getline line <manifest) > 0) if (length(line) == 64 && (substr(line, 1, 10) in place)) held[stack, place[substr(line, 1, 10)]] = 1
      close(manifest)
    }
  }
  for (best = 1; best; best = next_best()) {
    hits = 0
    for (i = 1; i <= count; i++) if (!found[i] && ((best, i) in held)) { found[i] = 1; hits++ }
    print best, hits, ARGV[best]
  }
}
function next_best(  stack, hits, most, best) {
  most = best = 0
  for (stack = 2; stack < ARGC; stack++) {
    hits = 0
    for (i = 1; i <= count; i++) if (!found[i] && ((stack, i) in held)) hits++
    if (hits > most) { most = hits; best = stack }
  }
  return best
}'

groups_awk='
(NR - 1) % group == 0 { close(file); file = sprintf("%09d", NR) }
{ print >file }'

lines_awk='
BEGIN { count = split(ranges, range, ","); next_range() }
function next_range() { i++; split(range[i], at, "-") }
i <= count && NR > at[2] + 0 { next_range() }
i > count { exit }
NR >= at[1] + 0'

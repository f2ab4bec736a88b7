# Says what the store takes on disk and who shares it; takes no lock, so trees may come and go meanwhile.

# usage: "tree", "held", "own", "seen", "running" and "other" records; sizes are bytes as the file system counts them.
verb_usage() {
  check_store
  [ -e "$store/format" ] || return 0
  if find / -prune -printf '' 2>/dev/null; then find_prints=yes; else find_prints=no; fi
  for measured in "$store"/tree/*; do
    [ -d "$measured/root" ] || continue
    printf 'in %s\n' "${measured##*/}"
    inodes "$measured/root"
  done | who_holds
  for measured in "$store"/c/*; do
    is_name "${measured##*/}" && [ -d "$measured" ] || continue
    printf 'own %s %s %s\n' "${measured##*/}" "$(disk_of "$measured/up" "$measured/data" "$measured/log")" "$(disk_of "$measured/bundle")"
    for record in "$measured"/gen/*; do
      is_number "${record##*/}" && read_record "${measured##*/}" "${record##*/}" && [ -n "$gen_seen" ] || continue
      printf 'seen %s %s %s\n' "${measured##*/}" "${record##*/}" "$gen_seen"
    done
  done
  running
  set -- "$store"/in "$store"/stage "$store"/tx "$store"/pin "$store"/trash "$store"/runtime "$store"/reserve
  for measured in "$store"/tree/*; do set -- "$@" "$measured/manifest" "$measured/xattrs"; done
  printf 'other %s\n' "$(disk_of "$@")"
}

# A line for each name: inode, blocks of 512 bytes, size, kind.
inodes() {
  if [ "$find_prints" = yes ]; then find "$1" -printf '%i %b %s %y\n' 2>/dev/null
  else find "$1" -print0 2>/dev/null | xargs -0 stat -c '%i %b %s %F' -- 2>/dev/null; fi
}

# Each inode belongs to the set of trees that name it. "held SET PARENT TREE BYTES" is the set PARENT (0 is the empty one)
# and TREE, and what belongs to just this set: short lines, however many trees share. No number is printed as 5.6e+10.
who_holds() {
  awk '
    $1 == "in" { trees++; id[trees] = $2 ~ /^[0-9a-f]+$/ && length($2) == 64 ? $2 : "-"; next }
    {
      entries[trees]++
      set = at[$1] + 0
      if (set && top[set] == trees) next
      disk[trees] += $2 * 512
      if ($4 ~ /^[fr]/) contents[trees] += $3
      if (!((set, trees) in next_set)) { next_set[set, trees] = ++sets; parent[sets] = set; top[sets] = trees }
      at[$1] = next_set[set, trees]
      held[set] -= $2 * 512
      held[at[$1]] += $2 * 512
    }
    END {
      for (i = 1; i <= trees; i++) printf "tree %d %s %.0f %.0f %.0f\n", i, id[i], entries[i], contents[i], disk[i]
      for (i = 1; i <= sets; i++) printf "held %d %d %d %.0f\n", i, parent[i], top[i], held[i]
    }'
}

# What is mounted below is not the store's; what is not there takes nothing.
disk_of() { du -skx -- "$@" 2>/dev/null | awk '{ kib += $1 } END { printf "%.0f", kib * 1024 }'; }

# Generations that are the root of some process; those that only some mount namespace still sees are not.
running() {
  cat /proc/[0-9]*/mountinfo 2>/dev/null | awk -v overlay="upperdir=$store/c/[^/]+/up/[0-9]+/u," '
    $5 != "/" { next }
    match($0, overlay) { path = substr($0, RSTART, RLENGTH) }
    match($4, "/c/[^/]+/bundle/[0-9]+/rootfs$") { path = substr($4, RSTART, RLENGTH) }
    path != "" {
      sub(/^.*\/c\//, "", path)
      split(path, part, "/")
      path = ""
      if (!seen[part[1], part[3]]++) printf "running %s %s\n", part[1], part[3]
    }'
}

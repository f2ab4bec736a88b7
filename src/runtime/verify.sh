# Re-hashes trees on the host against their ids.

# verify NAME|-: a record for each tree of a generation: good, bad or missing; it is read once however many stand on it.
verb_verify() {
  check_store
  [ -e "$store/format" ] || return 0
  mkdir -p "$store/tx"
  good='' bad=''
  for checked in "$store"/c/*; do
    checked=${checked##*/}
    is_name "$checked" || continue
    [ "$1" = - ] || [ "$1" = "$checked" ] || continue
    find_current "$checked" && at=$current
    for number in $(generations_of "$checked"); do
      read_record "$checked" "$number" 2>/dev/null || continue
      if [ "$number" = "$at" ]; then role=current; else role=older; fi
      for tree in $(trees_of "$gen_stack"); do
        judge "$tree"
        printf 'verified %s %s %s %s %s\n' "$checked" "$number" "$role" "$tree" "$state"
      done
    done
  done
}

# Sets state for a tree.
judge() {
  case " $good " in *" $1 "*) state=good && return 0 ;; esac
  case " $bad " in *" $1 "*) state=bad && return 0 ;; esac
  if [ ! -e "$store/tree/$1/ok" ]; then
    state=missing
  elif tree_is_whole "$1"; then
    state=good good="$good $1"
  else
    state=bad bad="$bad $1"
  fi
}

# repair ID: sets a damaged tree aside, so that the next push sends what it lacks.
verb_repair() {
  need_id "$1"
  open_store
  take_lock 10
  recover
  [ -e "$store/tree/$1/ok" ] || return 0
  known_of "$1" >"$store/tx/known"
  tree_is_whole "$1" "$store/tx/known" && return 0
  mv -T "$store/tree/$1" "$store/tree/$1.bad.$(random_id)" && new_epoch
}

# tree_is_whole TREE [KNOWN]: whole by its hash, for which what KNOWN tells is not read again: then it is no longer suspect.
# What cannot be read, for instance on a full disk, is not judged.
tree_is_whole() {
  [ -d "$store/tree/$1/root" ] || return 1
  rm -f "$store/tree/$1/hashed"
  found=$({ { write_manifest "$store/tree/$1/root" "$store/tree/$1/xattrs" "${2-}" "$store/tree/$1/hashed" 2>"$store/tx/err" || printf 'unread ' >&3; } | sha256sum | cut -c1-64; } 3>&1)
  case $found in unread*) ! [ -e "$store/tree/$1/ok" ] || die_of "read tree $1" ;; esac
  if [ "$found" = "$1" ]; then rm -f "$store/tree/$1/suspect"; else ! rm -f "$store/tree/$1/hashed"; fi
}

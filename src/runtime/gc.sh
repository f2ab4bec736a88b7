# Frees what no kept generation, pin or live mount needs.

# gc KEEP DRY: keeps the newest KEEP generations of each container and the current one; DRY is yes or no.
# What is needed is kept in variables: on a full disk a list in a file would come out short, and good trees would go.
verb_gc() {
  keep=$1 dry=$2
  need_number "$keep"
  check_store
  [ -e "$store/format" ] || return 0
  take_lock 10
  if [ "$dry" = no ]; then
    rm -rf "$store/reserve"
    recover
  fi
  needed=$newline
  for known in "$store"/c/*; do
    [ ! -d "$known" ] || old_generations "${known##*/}"
  done
  for known in "$store"/pin/*; do [ ! -e "$known" ] || need_tree "$(cat "$known")"; done
  in_mounts=$newline$(trees_in_mounts)$newline
  for known in "$store"/tree/*; do
    [ -e "$known" ] || continue
    ! is_needed "${known##*/}" || continue
    printf 'freed tree %s %s\n' "${known##*/}" "$(du -sk "$known" 2>/dev/null | cut -f1)"
    [ "$dry" = no ] || continue
    [ -n "$desk" ] || note_known
    trash "$known" && gone=yes
  done
  [ "${gone-no}" = no ] || { sync "$store/tree" && new_epoch; }
  if [ "$dry" = no ]; then
    recover
    keep_known
    fill_reserve
  fi
}

# Files that stay lose links to trees that go, which counts as a change. Where a disk is full they are hashed again at their next use.
note_known() {
  [ "$(free_kib)" -gt 16384 ] || return 0
  desk=$(scratch 2>/dev/null) || desk=
  for tree in "$store"/tree/*/hashed; do
    tree=${tree%/hashed} && tree=${tree##*/}
    [ -z "$desk" ] || ! is_id "$tree" || known_of "$tree" >"$desk/$tree"
  done
} 2>/dev/null

keep_known() {
  for tree in ${desk:+"$desk"/*}; do
    [ ! -s "$tree" ] || [ ! -d "$store/tree/${tree##*/}" ] || still_known "${tree##*/}" "$tree"
  done
}

need_tree() { needed=$needed$1$newline; }
need_stack_trees() { needed=$needed$(trees_of "$1")$newline; }

# A mount goes on naming ID where its tree was since set aside as ID.bad.RANDOM.
is_needed() {
  case $in_mounts in *"$newline${1%%.*}$newline"*) return 0 ;; esac
  case $needed in *"$newline$1$newline"*) ;; *) return 1 ;; esac
}

trees_in_mounts() {
  cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -F "$store/tree/" | grep -o '/tree/[0-9a-f]\{64\}/root' | cut -d/ -f3 | sort -u
}

# Keeps the newest $keep of those that were committed, the current one and what runs; the others go.
old_generations() {
  is_name "$1" || return 0
  find_current "$1" && at=$current
  kept=0
  for number in $(generations_of "$1" | sort -rn); do
    whole=no
    [ ! -e "$store/c/$1/gen/$number" ] || [ "$number" -gt "$at" ] || read_record "$1" "$number" || :
    if [ "$number" = "$at" ] || { [ "$whole" = yes ] && [ "$kept" -lt "$keep" ]; } || in_switch "$1" "$number" || in_use "$1" "$number"; then
      kept=$((kept + 1))
      [ "$whole" = no ] || need_stack_trees "$gen_stack"
      continue
    fi
    printf 'freed generation %s %s\n' "$1" "$number"
    [ "$dry" = yes ] || drop_generation "$1" "$number" || :
  done
}

generations_of() {
  for used in "$store/c/$1"/gen/* "$store/c/$1"/bundle/* "$store/c/$1"/up/*; do
    used=${used##*/}
    ! is_number "$used" || printf '%s\n' "$used"
  done | sort -un
}

# The record goes last, so that a number is free only when nothing of it is left. A busy mount stays as it is.
drop_generation() {
  if [ "$(mounted "$1" "$2")" = yes ]; then
    umount "$store/c/$1/bundle/$2/rootfs" 2>/dev/null || {
      printf 'busy %s %s\n' "$1" "$2"
      if read_record "$1" "$2"; then need_stack_trees "$gen_stack"; fi
      return 1
    }
  fi
  rm -f "$store/c/$1/log/$2" "$store/c/$1/log/$2.old"
  trash "$store/c/$1/bundle/$2" && trash "$store/c/$1/up/$2" && rm -f "$store/c/$1/gen/$2"
}

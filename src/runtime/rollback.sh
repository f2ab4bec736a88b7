# Goes back to an older generation by making a new one of the same stack and config.json, so that numbers only grow.

# rollback NAME EXPECTED TO: TO 0 is the generation before the current one.
verb_rollback() {
  name=$1 expected=$2 to=$3
  need_name "$name" && need_number "$expected" && need_number "$to"
  [ -e "$store/format" ] || die E_NO_CONTAINER "cannot roll back $name: the host has no such container"
  check_store
  take_lock 10
  recover
  find_current "$name" && now=$current
  [ "$now" != 0 ] || die E_NO_CONTAINER "cannot roll back $name: the host has no such container"
  [ "$expected" = 0 ] || [ "$expected" = "$now" ] || die E_CONFLICT "cannot roll back $name: generation $now is current now, not $expected"
  if [ "$to" = 0 ]; then
    read_record "$name" "$now" || die E_STORE_DAMAGED "cannot read $store/c/$name/gen/$now: it is not whole"
    to=$gen_parent
  fi
  [ "$to" != "$now" ] || die E_GEN "cannot roll back $name to generation $to: it is current"
  [ "$to" != 0 ] && [ -e "$store/c/$name/gen/$to" ] && [ -e "$store/c/$name/bundle/$to/config.json" ] ||
    die E_GEN "cannot roll back $name to generation $to: there is none"
  read_record "$name" "$to" || die E_GEN "cannot roll back $name to generation $to: its record is damaged"
  for tree in $(trees_of "$gen_stack"); do
    [ -e "$store/tree/$tree/ok" ] || die E_GEN "cannot roll back $name to generation $to: its tree $tree is gone"
    [ ! -e "$store/tree/$tree/suspect" ] || tree_is_whole "$tree" || die E_GEN "cannot roll back $name to generation $to: its tree $tree is damaged"
  done
  stack=$gen_stack rootfs=$gen_rootfs config=$gen_config seen=$gen_seen expected=$now number=$(next_of "$name")
  config_of "$to"
  need_persisted "roll back $name to generation $to" "$text"
  make_room
  new_generation || exit 1
  printf 'stack %s from %s\n' "$stack" "$to"
  read_started "$name"
  [ "$alive" = yes ] || run_generation=0
  printf 'runs %s\n' "$run_generation"
}

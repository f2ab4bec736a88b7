# Makes a new generation of a container over a stack of published trees and commits it by one rename.

# activate NAME EXPECTED NUMBER STACK ROOTFS CONFIG SIZE [ENTRIES BYTES]: STACK is ids of trees, bottom first, joined by
# commas; SIZE bytes of config.json follow on standard input, or it is as in generation EXPECTED where SIZE is 0. ENTRIES and BYTES are what a container sees of the stack.
verb_activate() {
  name=$1 expected=$2 number=$3 stack=$4 rootfs=$5 config=$6 size=$7
  need_name "$name" && need_number "$expected" && need_number "$number" && need_stack "$stack" && need_id "$config" && need_number "$size"
  seen=
  [ $# -lt 9 ] || { need_number "$8" && need_number "$9" && seen="$8 $9"; }
  if [ "$size" != 0 ]; then
    text=$(head -c "$size" && printf x)
    text=${text%x}
    [ ${#text} -eq "$size" ] || die E_PROTO 'cannot read config.json: it is cut'
  fi
  open_store
  take_lock 60
  recover
  for tree in $(trees_of "$stack"); do need_whole "$tree"; done
  if [ "$size" = 0 ]; then
    config_of "$expected"
    [ "$(printf %s "$text" | sed "s|\"$store/c/$name/bundle/$number/rootfs\"|\"rootfs\"|" | sha256sum | cut -c1-64)" = "$config" ] || die E_BASE_MISSING "cannot use config.json of generation $expected: it is another"
  fi
  need_persisted "switch $name" "$text"
  new_generation || exit 1
}

# Sets text to the config.json of another generation, with its root here.
config_of() {
  text=$(sed "s|\"$store/c/$name/bundle/$1/rootfs\"|\"$store/c/$name/bundle/$number/rootfs\"|" "$store/c/$name/bundle/$1/config.json" 2>/dev/null && printf x)
  text=${text%x}
}

# The generation's own rooms first, then its record, then the switch; a number once begun is never used again.
new_generation() {
  container=$store/c/$name
  mkdir -p "$container/gen" "$container/bundle" "$container/up" "$container/data" 2>"$store/tx/err" || die_of "make $container"
  find_current "$name"
  [ "$current" = "$expected" ] || die E_CONFLICT "cannot switch $name: generation $current is current now, not $expected"
  [ "$(next_of "$name")" = "$number" ] || die E_CONFLICT "cannot switch $name: generation $number was begun by another push"
  bundle=$container/bundle/$number
  mkdir "$bundle" 2>"$store/tx/err" || die_of 'make the bundle'
  begun=$number
  mkdir -m 0000 "$bundle/rootfs" 2>"$store/tx/err" || die_of 'make the bundle'
  printf %s "$text" | put "$bundle/config.json" || die_of 'write config.json'
  : step bundled
  case $rootfs in
  overlay)
    fresh_upper || die_of 'make the writable layer'
    mount_generation "$name" "$number" "$stack" || die_of_mount
    ;;
  copy)
    is_id "$stack" || die E_PROTO 'cannot copy the root filesystem: it has several layers'
    rmdir "$bundle/rootfs" && cp -a "$store/tree/$stack/root" "$bundle/rootfs" 2>"$store/tx/err" || die_of 'copy the root filesystem'
    ;;
  *) die E_PROTO 'cannot make the root filesystem: it is neither overlay nor copy' ;;
  esac
  : step prepared
  check_bundle_link
  printf 'stack %s\nrootfs %s\nconfig %s\nparent %s\nseen %s\nend\n' "$stack" "$rootfs" "$config" "$expected" "$seen" | put "$container/gen/$number" || die_of 'write the generation'
  flush "$container" || die E_IO "cannot activate $name: sync failed on $store"
  : step recorded
  ln -s "gen/$number" "$container/.cur.$$" 2>"$store/tx/err" || die_of 'switch'
  : step linked
  mv -T "$container/.cur.$$" "$container/current" 2>"$store/tx/err" || die_of 'switch'
  : step switched
  sync "$container" || die E_IO "cannot activate $name: sync failed on $store"
  : step durable
  converge "$name" || exit 1
  rm -rf "$store"/tx/*
  printf 'generation %s\n' "$number"
}

# What failed before the switch takes no space; its number stays taken by an empty bundle.
abandon() {
  [ "$(readlink "$container/current")" != "gen/$begun" ] || return 0
  rm -f "$container/gen/$begun"
  [ "$(mounted "$name" "$begun")" = no ] || umount "$container/bundle/$begun/rootfs" || return 0
  rm -rf "$container/up/$begun" "$container/bundle/$begun"/*
}

# An upper of its own for each generation; its root shows through as the container's root, so it looks like the tree's.
fresh_upper() {
  upper=$container/up/$number like=$store/tree/${stack##*,}/root
  mkdir "$upper" "$upper/w" "$upper/u" 2>"$store/tx/err" || return 1
  chown "$(stat -c %u:%g "$like")" "$upper/u" && chmod "$(stat -c %a "$like")" "$upper/u" || return 1
  if has getfattr && has setfattr; then (cd "$like" && getfattr -h -d -m '^(user|system[.]posix_acl)' -e hex .) | (cd "$upper/u" && setfattr -h --restore=-) 2>"$store/tx/err"; fi
  touch -r "$like" "$upper/u"
}

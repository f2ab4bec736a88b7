# Says what the store holds: its epoch, its trees, its containers and their generations; takes no lock.

# inventory NAME|- : everything, or the trees and one container.
verb_inventory() {
  [ "$1" = - ] || need_name "$1"
  check_store
  if [ ! -e "$store/format" ]; then
    printf 'epoch -\n'
    return 0
  fi
  printf 'epoch %s\n' "$(cat "$store/epoch")"
  for found in "$store"/tree/*/ok; do
    [ -e "$found" ] || continue
    found=${found%/ok}
    is_id "${found##*/}" && printf 'tree %s\n' "${found##*/}"
  done
  for found in "$store"/c/*; do
    [ -d "$found" ] || continue
    if [ "$1" != - ] && [ "$1" != "${found##*/}" ]; then
      stack_records "${found##*/}"
      continue
    fi
    container_record "${found##*/}"
  done
  [ "$1" = - ] || settings_of "$1"
}

# The settings that the current config.json of a container keeps, as the JSON text that stands there on a line of its own.
settings_of() {
  kept=$(sed -n 's/^    "varve\.settings": \(".*"\),\{0,1\}$/\1/p' "$store/c/$1/$(readlink "$store/c/$1/current" | sed 's/^gen/bundle/')/config.json" 2>/dev/null)
  [ -z "$kept" ] || printf 'payload %s\n%s' "${#kept}" "$kept"
} 2>/dev/null

# Of the other containers only what a flat source could be laid over.
stack_records() {
  at=$(readlink "$store/c/$1/current" 2>/dev/null) && [ -e "$store/c/$1/$at" ] && read_record "$1" "${at#gen/}" || return 0
  case $gen_stack in *,*) printf 'stack %s\n' "$gen_stack" ;; esac
}

container_record() {
  is_name "$1" || return 0
  find_current "$1" && now=$current
  if [ "$(readlink "$bundles/$1")" = "$store/c/$1/bundle/$now" ]; then linked=yes; else linked=no; fi
  printf 'container %s current %s next %s mounted %s linked %s\n' "$1" "$now" "$(next_of "$1")" "$(mounted "$1" "$now")" "$linked"
  service_record "$1"
  for record in "$store/c/$1"/gen/*; do
    [ -e "$record" ] || continue
    is_number "${record##*/}" || continue
    read_record "$1" "${record##*/}" || continue
    printf 'generation %s %s stack %s rootfs %s config %s parent %s\n' "$1" "${record##*/}" "$gen_stack" "$gen_rootfs" "$gen_config" "$gen_parent"
  done
}

# Sets current to the number of the current generation; 0 where there is none. It may die, so it runs in no subshell.
find_current() {
  current=$(readlink "$store/c/$1/current" 2>/dev/null) || current=gen/0
  current=${current#gen/}
  is_number "$current" || die E_STORE_DAMAGED "cannot read $store/c/$1/current: it names no generation"
  [ "$current" = 0 ] || [ -e "$store/c/$1/gen/$current" ] || die E_STORE_DAMAGED "cannot read $store/c/$1/gen/$current: it is gone"
}

# One more than any number that was ever begun.
next_of() {
  highest=0
  for used in "$store/c/$1"/gen/* "$store/c/$1"/bundle/* "$store/c/$1"/up/*; do
    used=${used##*/}
    ! is_number "$used" || [ "$used" -le "$highest" ] || highest=$used
  done
  printf %s "$((highest + 1))"
}

# Reads a generation into gen_*; fails where the record is not whole.
read_record() {
  gen_stack='' gen_rootfs='' gen_config='' gen_parent='' gen_seen='' whole=no
  while read -r key value; do
    case $key in
    stack) gen_stack=$value ;;
    rootfs) gen_rootfs=$value ;;
    config) gen_config=$value ;;
    parent) gen_parent=$value ;;
    seen) gen_seen=$value ;;
    end) whole=yes ;;
    esac
  done <"$store/c/$1/gen/$2"
  [ "$whole" = yes ] && is_stack "$gen_stack"
}

mounted() {
  if grep -qF " $store/c/$1/bundle/$2/rootfs " /proc/self/mountinfo; then printf yes; else printf no; fi
}

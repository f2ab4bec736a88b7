# Removes a container and all its generations; its trees stay until gc.

# rm NAME yes|no: whether what it persisted goes too.
verb_rm() {
  need_name "$1"
  [ -e "$store/format" ] && [ -d "$store/c/$1" ] || die E_NO_CONTAINER "cannot remove $1: the host has no such container"
  check_store
  take_own_lock "$1" 60
  take_lock 10
  recover
  for number in $(generations_of "$1"); do
    ! in_use "$1" "$number" || die E_BUSY_MOUNT "cannot remove $1: a process runs on generation $number"
  done
  kept=$(find "$store/c/$1/data" -mindepth 1 -maxdepth 1 ! -name '*.new' 2>/dev/null | sed 's/.*\///; s/+/\//g; s/^/\//' | LC_ALL=C sort | tr '\n' ' ')
  [ -z "$kept" ] || [ "$2" = yes ] || die E_PERSIST "cannot remove $1: it has persisted ${kept% }"
  read_started "$1"
  clear_engine "$1"
  case $(readlink "$bundles/$1") in "$store/c/$1/"*) rm -f "$bundles/$1" ;; esac
  # killed from here on, it is a container without a generation, which a push or another rm takes up
  rm -f "$store/c/$1/current" && sync "$store/c/$1"
  for number in $(generations_of "$1"); do
    drop_generation "$1" "$number" >/dev/null || die E_BUSY_MOUNT "cannot remove $1: generation $number is mounted and busy"
  done
  trash "$store/c/$1" && sync "$store/c"
  recover
}

# The runtime's ground: a clean environment, the names of the store, answers, durable writes, the lock and recovery.
#
# Called as: sh -c LOADER varve HOME UID STORE BUNDLES ..., where HOME and UID are the login user's. It runs as root.
# Every child inherits the lock (fd 9), so that a store stays locked until the last tool of a killed runtime is gone.

set -u
umask 077
unset ENV BASH_ENV CDPATH GREP_OPTIONS TAR_OPTIONS XZ_OPT XZ_DEFAULTS GZIP ZSTD_CLEVEL POSIXLY_CORRECT QUOTING_STYLE TMPDIR
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
TZ=UTC0
IFS=' 	
'
export PATH LC_ALL TZ
cd / || exit 1
trap '' HUP PIPE # a dead connection must not stop a commit half-way

login_home=$1 login_uid=$2 store=$3 bundles=$4
held_store='' held_own='' locked=no lock_mark='' desk=''
newline='
'

# One answer ends with "ok" or with "die CODE MESSAGE"; what stands before are records of the verb.
die() {
  printf 'die %s %s\n' "$1" "$2"
  exit 3
}

# Names the true cause of a tool's failure by what it wrote to $store/tx/err.
die_of() {
  said=$(tail -n 3 "$store/tx/err" 2>/dev/null | tr '\n' ' ' | tr -d '\000-\037\177' | cut -c1-500)
  case $(cat "$store/tx/err" 2>/dev/null) in
  *"No space left"*) no_space "$1" ;;
  *"uota exceeded"*) die E_NOSPACE "cannot $1: the disk quota is used up on $store" ;;
  *"Read-only file system"*) die E_ROFS "cannot $1: $store is read-only" ;;
  *"Input/output error"*) die E_IO "cannot $1: input/output error below $store" ;;
  esac
  [ -w "$store" ] || die E_ROFS "cannot $1: $store is read-only"
  ! is_full || no_space "$1"
  die E_IO "cannot $1: $said"
}

no_space() {
  ! lacks_inodes || die E_NOINODES "cannot $1: no inodes left on $store"
  die E_NOSPACE "cannot $1: no space left on $store"
}

# A full disk may not even take the words of the tool that failed; some of what it took is free again by now.
is_full() { lacks_inodes || [ "$(free_kib)" -le 64 ]; }
lacks_inodes() {
  inodes=$(free_inodes)
  [ "${inodes:-16}" -lt 16 ]
}

free_kib() { df -Pk "$store" 2>/dev/null | awk 'NR == 2 { print $4 }'; }
# Nothing where the file system makes inodes as it needs them.
free_inodes() { df -Pi "${1-$store}" 2>/dev/null | awk 'NR == 2 && $2 > 0 && $4 ~ /^[0-9]+$/ { print $4 }'; }

has() { command -v "$1" >/dev/null 2>&1; }

is_name() {
  case $1 in '' | [!a-z0-9]* | *[!a-z0-9_.-]*) return 1 ;; esac
  [ ${#1} -le 63 ]
}

is_id() {
  case $1 in *[!0-9a-f]*) return 1 ;; esac
  [ ${#1} -eq 64 ]
}

# Ids of trees, bottom first, joined by commas.
is_stack() {
  case $1 in '' | *,) return 1 ;; esac
  for id in $(trees_of "$1"); do is_id "$id" || return 1; done
}
trees_of() { printf '%s\n' "$1" | tr , '\n'; }

is_number() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ ${#1} -le 15 ]
}

need_name() { is_name "$1" || die E_NAME "cannot use a container name: it is none"; }
need_id() { is_id "$1" || die E_PROTO "cannot use an id: it is no SHA-256"; }
need_stack() { is_stack "$1" || die E_PROTO "cannot use a stack: it is no list of SHA-256"; }
need_number() { is_number "$1" || die E_PROTO "cannot use a number: it is none"; }

# over LIST COMMAND...: runs the command with the names of a file, in batches. From the file itself BusyBox's xargs would
# read wrong: an applet that it runs sets the file's position back when it ends.
over() {
  list=$1
  shift
  # shellcheck disable=SC2002 # a pipe has no position
  cat "$list" | xargs -0 "$@"
}

random_id() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
sha256_of() { sha256sum <"$1" | cut -c1-64; }

# put FILE: standard input becomes FILE, whole and durable or not at all.
put() {
  cat >"$1.tmp.$$" && sync "$1.tmp.$$" && mv -T "$1.tmp.$$" "$1" && sync "${1%/*}"
}

# Flushes the file system of a path; tools without sync -f flush everything.
flush() { if sync -f /proc 2>/dev/null; then sync -f "$1" 2>/dev/null; else sync; fi; }

# Makes the store where there is none; refuses one that is not ours. What a killed first push left is ours: empty rooms.
open_store() {
  check_store
  [ ! -e "$store/format" ] || return 0
  mkdir -p "$store" 2>/dev/null || die E_STORE "cannot make the store: mkdir $store failed"
  { chmod 0700 "$store" && chown 0:0 "$store"; } || die E_STORE "cannot make the store: $store cannot be owned by root"
  for room in tree c in stage tx pin trash runtime; do mkdir -p "$store/$room" || die E_STORE "cannot make the store: mkdir $store/$room failed"; done
  random_id | put "$store/epoch" || die_of 'make the store'
  fill_reserve
  printf 'varve-store 1\n' | put "$store/format" || die_of 'make the store'
}

# Changes nothing, so that a client hears of it before it sends anything. No store at all is fine.
check_store() {
  [ ! -L "$store" ] || no_store 'it is a symbolic link'
  [ -e "$store" ] || return 0
  [ -d "$store" ] || no_store 'it is no directory'
  owner=$(stat -c %u "$store")
  [ "$owner" = 0 ] || no_store "it is owned by uid \"$owner\", not by root"
  [ -e "$store/format" ] || only_empty_rooms
  [ -e "$store/format" ] || return 0
  [ "$(cat "$store/format")" = 'varve-store 1' ] || no_store 'its format is of another version'
  mode=$(stat -c %a "$store")
  [ "$mode" = 700 ] || no_store "it has mode \"$mode\", not \"700\""
}

only_empty_rooms() {
  for found in "$store"/* "$store"/.[!.]*; do
    case ${found##*/} in
    '*' | '.[!.]*' | lost+found | runtime | lock | reserve | epoch | epoch.tmp.* | format.tmp.*) continue ;;
    tree | c | in | stage | tx | pin | trash) [ -n "$(ls -A "$found")" ] || continue ;;
    esac
    # another first push may have made it meanwhile
    [ -e "$store/format" ] || no_store "it holds other things, such as \"${found##*/}\""
  done
}

no_store() { die E_STORE "cannot use \"$store\" as the store: $1"; }

# take_lock SECONDS: waits for the store's lock; the kernel drops it when the last process that holds it is gone.
take_lock() {
  held=
  if has flock; then
    exec 9>>"$store/lock" || die_of 'lock the store'
    flock -w "$1" 9 2>/dev/null || flock -n 9 || die E_LOCKED "cannot lock $store: another varve works on it"
  else
    take_directory_lock "$1" "$store"
  fi
  held_store=$held locked=yes
  trap leave EXIT
}

# What takes long, a stop or a wait for health, does without the store's lock, but not without the container's own (fd 8).
take_own_lock() {
  held=
  engine_room
  if has flock; then
    exec 8>>"$room/$1.lock" || die E_LOCKED "cannot lock $1: $room cannot be written"
    flock -w "$2" 8 2>/dev/null || flock -n 8 || die E_LOCKED "cannot lock $1: another varve starts or stops it"
  else
    take_directory_lock "$2" "$store/c/$1"
  fi
  held_own=$held
  trap leave EXIT
}

# Whether somebody starts or stops the container at this moment.
own_lock_taken() {
  engine_room
  if has flock; then
    [ -e "$room/$1.lock" ] && ! flock -n "$room/$1.lock" true 2>/dev/null
  else
    read -r owner started _ 2>/dev/null <"/run/varve/lock.$(printf %s "$store/c/$1" | sha256sum | cut -c1-16)/owner" &&
      [ "$(start_time "$owner")" = "$started" ]
  fi
}

drop_lock() {
  exec 9>&-
  [ -z "$held_store" ] || rm -rf "$held_store"
  held_store='' locked=no
}

# What a verb that failed had begun goes while the lock is still held.
leave() {
  status=$?
  [ -z "${linking-}" ] || wait "$linking"
  if [ "$status" != 0 ] && [ "$locked" = yes ]; then
    [ -z "${begun-}" ] || abandon
    sweep
  fi
  [ -z "$desk" ] || rm -rf "$desk"
  for held in $held_store $held_own; do rm -rf "$held"; done
} 2>/dev/null

# Without flock: a directory in /run, which a reboot empties. It comes into being with its owner in it, by one rename: the
# process that runs the verb and its start time. Tools that outlive it carry the lock's mark in their environment.
take_directory_lock() {
  mkdir -p /run/varve || die E_LOCKED 'cannot lock the store: mkdir /run/varve failed'
  held=/run/varve/lock.$(printf %s "$2" | sha256sum | cut -c1-16)
  read -r own _ </proc/self/stat
  : "${lock_mark:=$(random_id)}"
  VARVE_LOCK=$lock_mark
  export VARVE_LOCK
  mine=$held.$VARVE_LOCK
  mkdir "$mine" && printf '%s %s %s\n' "$own" "$(start_time "$own")" "$VARVE_LOCK" >"$mine/owner" || die E_LOCKED "cannot lock $2: mkdir $mine failed"
  waited=0
  until mv -T "$mine" "$held" 2>/dev/null; do
    if mkdir "$held.brk" 2>/dev/null; then
      remove_dead_lock
      rmdir "$held.brk"
      ! mv -T "$mine" "$held" 2>/dev/null || break
    fi
    if [ "$waited" -ge "$1" ]; then
      rm -rf "$mine"
      die E_LOCKED "cannot lock $2: another varve works on it (if none does: rm -r $held $held.brk)"
    fi
    sleep 1
    waited=$((waited + 1))
  done
}

# One at a time, under a second directory. Who is dead stays dead, so a lock that names the dead before and after the look
# is theirs still; one without an owner is just being given back.
remove_dead_lock() {
  read -r owner started mark <"$held/owner" || return 0
  [ -n "$mark" ] && [ "$(start_time "$owner")" != "$started" ] || return 0
  ! grep -qaF "$mark" /proc/[0-9]*/environ 2>/dev/null || return 0
  if grep -qF "$mark" "$held/owner"; then rm -rf "$held"; fi
} 2>/dev/null

start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# A directory of its own for what a verb computes; verbs that only read have one without holding the lock.
scratch() { mktemp -d "$store/tx/read.$$.XXXXXX"; }

# Under the lock, before anything is changed: what a dead runtime left is nobody's.
recover() {
  sweep
  now=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
  if [ "$now" != "$(cat "$store/boot" 2>/dev/null)" ]; then
    make_room
    # trees published before an unclean stop may miss data that never reached the disk
    for known in "$store"/tree/*/ok; do [ ! -e "$known" ] || touch "${known%/ok}/suspect" || die_of 'note the boot'; done
    printf '%s\n' "$now" | put "$store/boot" || die_of 'note the boot'
  fi
}

sweep() {
  rm -rf "$store"/stage/* "$store"/in/* "$store"/*.tmp.* "$store"/tree/*.tmp.*
  rm -f "$store"/runtime/*.tmp.* "$store"/c/*/bundle/*/config.json.tmp.*
  for left in "$store"/tx/*; do
    reader=${left#"$store/tx/read."} && reader=${reader%%.*}
    is_number "$reader" && [ -d "/proc/$reader" ] || rm -rf "$left"
  done
  empty_trash
  for left in "$store"/c/*/.cur.* "$store"/c/*/gen/*.tmp.* "$bundles"/.varve.*; do
    if [ -L "$left" ] || [ -e "$left" ]; then rm -f "$left"; fi
  done
}

# Blocks and inodes that gc and rollback give up first, so that both work on a full disk.
fill_reserve() {
  [ ! -d "$store/reserve" ] || return 0
  rm -f "$store/reserve"
  (
    mkdir "$store/reserve" && cd "$store/reserve" && head -c 8388608 /dev/zero >blocks || exit 1
    for inode in 0 1 2 3 4 5 6 7; do
      touch "$inode.0" "$inode.1" "$inode.2" "$inode.3" || exit 1
    done
  ) 2>/dev/null || rm -rf "$store/reserve"
}

make_room() {
  inodes=$(free_inodes)
  [ "$(free_kib)" -gt 4096 ] && [ "${inodes:-32}" -ge 32 ] || rm -rf "$store/reserve"
}

empty_trash() {
  for dead in "$store"/trash/*; do
    [ -e "$dead" ] || continue
    grep -qF " $dead" /proc/self/mountinfo || rm -rf "$dead"
  done
}

# trash PATH: out of sight by one rename; freed now, or by the next recovery.
trash() {
  [ ! -e "$1" ] || mv -T "$1" "$store/trash/${1##*/}.$(random_id)"
}

# The trees of the store have changed: what clients remember of it is void.
new_epoch() { random_id | put "$store/epoch" || die_of 'renew the epoch'; }

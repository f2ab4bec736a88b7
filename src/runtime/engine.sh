# Runs a generation on an engine: create and start, signal, wait, clean away. Engines get fds 0-2 only, and no lock.

# What a log may take, twice: the log and the one before it.
log_bytes=1048576

# Reads what a container says until it is dead. dd writes what it has read at once; a full disk loses words, never the container.
log_writer='# log.sh FILE BYTES TOLD: writes what a container of varve says
trap "" HUP INT TERM PIPE
umask 077
cd / || exit
while :; do
  dd bs=8192 count=64 >>"$1" 2>"$3" || dd bs=8192 count=1 >/dev/null 2>"$3" || sleep 1
  read -r said <"$3"
  case $said in "0+0 records in"*) break ;; esac
  [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -lt "$2" ] || mv -f "$1" "$1.old"
done
rm -f "$3"
'

# Where engines keep what runs of this store, so that no name of theirs is taken.
engine_room() {
  room=/run/varve
  [ "$store" = /var/lib/varve ] || room=/run/varve/$(printf %s "$store" | sha256sum | cut -c1-16)
  mkdir -p "$room" || die E_IO "cannot make $room"
}

# What outlives the session: a session of its own, a scope of its own where systemd could end it with the login, signals
# and umask as a service has them. The lock's mark must not live on in it.
detached() {
  apart
  if [ -d /run/systemd/system ] && has systemd-run; then set -- systemd-run --scope --quiet --collect -- setsid "$@"; else set -- setsid "$@"; fi
  exec "$@"
}

apart() {
  unset VARVE_LOCK
  trap - HUP PIPE
  umask 022
  export HOME="${HOME:-/root}"
}

# apart with standard input from nothing and its output into the log.
engine_tool() { (apart && exec "$@") </dev/null >&7 2>&1 7>&- 8>&- 9>&-; }
# The same, but said to us.
ask_engine() { (apart && exec "$@") </dev/null 7>&- 8>&- 9>&-; }

oci_tool() {
  tool=$1
  shift
  "$asked" "$tool" --root "$room/$tool" "$@"
}

# launch NAME NUMBER ENGINE: sets pid; fails where the engine refuses, whose words are in the log then.
launch() {
  name=$1 number=$2 engine=$3 bundle=$store/c/$1/bundle/$2
  engine_room
  read_config "$name" "$number" facts
  need_fit "$name" "$number" "$engine"
  need_root
  mkdir -p "$store/c/$name/log" || die E_IO "cannot make $store/c/$name/log"
  log=$store/c/$name/log/$number
  log_from=$(stat -c %s "$log" 2>/dev/null) || log_from=0
  pipe=$room/$name.pipe
  rm -f "$pipe" && mkfifo -m 0600 "$pipe" || die E_IO "cannot make $pipe"
  # both ends are opened here, by way of a third that waits for nobody, so that neither waits for the other
  exec 6<>"$pipe"
  # shellcheck disable=SC2094 # it is a pipe
  exec 5<"$pipe" 7>"$pipe"
  exec 6>&-
  rm -f "$pipe"
  printf %s "$log_writer" >"$room/log.sh.$$" && mv -f "$room/log.sh.$$" "$room/log.sh" || die E_IO "cannot write $room/log.sh"
  : >"$(told_of "$name" "$number")"
  (detached /bin/sh "$room/log.sh" "$log" "$log_bytes" "$(told_of "$name" "$number")") <&5 >/dev/null 2>&1 5<&- 7>&- 8>&- 9>&- &
  exec 5<&-
  "launch_$engine"
  launched=$?
  exec 7>&-
  [ "$launched" = 0 ] || return 1
  is_number "$pid" && write_started "$name" "$engine" "$number" "$pid"
}

# A file that is there for as long as the log is written of what this session has started.
told_of() { printf '%s/%s.%s.%s.log' "$room" "$1" "$2" "$$"; }

# await_log NAME NUMBER: what is dead has said all, but the log may not have it yet.
await_log() {
  waited=0
  while [ -e "$(told_of "$1" "$2")" ] && [ "$waited" -lt 50 ]; do
    waited=$((waited + 1))
    nap
  done
}

# Nothing is ever started on an empty mount point.
need_root() {
  read_record "$name" "$number" || die E_STORE_DAMAGED "cannot read $store/c/$name/gen/$number: it is not whole"
  if [ "$gen_rootfs" = overlay ]; then
    [ "$(mounted "$name" "$number")" = yes ] || die E_OVERLAY "cannot start $name: the root filesystem of generation $number is not mounted"
  else
    [ -n "$(find "$bundle/rootfs" -mindepth 1 -maxdepth 1 2>/dev/null | head -n 1)" ] || die E_STORE_DAMAGED "cannot start $name: the root filesystem of generation $number is empty"
  fi
}

launch_runc() { launch_oci runc; }
launch_crun() { launch_oci crun; }
launch_oci() {
  asked=ask_engine
  oci_tool "$1" delete -f "$name" >/dev/null 2>&1
  asked=engine_tool
  rm -f "$room/$name.pid"
  oci_tool "$1" create --pid-file "$room/$name.pid" --bundle "$bundle" "$name" && oci_tool "$1" start "$name" || {
    asked=ask_engine
    oci_tool "$1" delete -f "$name" >/dev/null 2>&1
    return 1
  }
  pid=$(cat "$room/$name.pid")
}

# need_fit NAME NUMBER ENGINE: dies where config.json asks for what the engine has no option for.
need_fit() {
  case $3 in
  podman)
    read_config "$1" "$2" podman
    [ -z "$podman_refuses" ] || die E_CONFIG "cannot start $1 with podman: $podman_refuses"
    ;;
  nspawn)
    [ "$cfg_version" != 1.0.0 ] || return 0
    read_config "$1" "$2" nspawn
    [ -z "$nspawn_refuses" ] ||
      die E_CONFIG "cannot start $1 with systemd-nspawn: its config.json is made for another engine, and has $nspawn_refuses (varve push --engine nspawn makes one)"
    ;;
  # crun takes an empty path for the cgroup of its caller, and freezes or kills all that is in there
  crun) [ "$cfg_cgroup" != empty ] || die E_CONFIG "cannot start $1 with crun: its config.json has an empty linux.cgroupsPath" ;;
  esac
}

launch_podman() {
  podman_manager=
  [ -d /run/systemd/system ] || podman_manager=--cgroup-manager=cgroupfs
  rm -f "$room/$name.pid"
  if [ -n "$podman_seccomp" ]; then
    printf %s "$podman_seccomp" >"$room/$name.seccomp" || die E_IO "cannot write $room/$name.seccomp"
    podman_options="$podman_options --security-opt=seccomp=\$room/\$name.seccomp"
  fi
  eval "set -- $podman_options --stop-signal=\$cfg_signal --rootfs \"\$bundle/rootfs\" $podman_words"
  ask_engine podman $podman_manager rm -f -i "$name" >/dev/null 2>&1
  engine_tool podman $podman_manager run --detach --log-driver=passthrough --sdnotify=ignore --pidfile "$room/$name.pid" \
    --name "$name" --label "varve.store=$store" "$@" || {
    ask_engine podman $podman_manager rm -f -i "$name" >/dev/null 2>&1
    return 1
  }
  pid=$(cat "$room/$name.pid")
}

launch_nspawn() {
  # it refuses a tree without this directory, which a static program does without
  [ -e "$bundle/rootfs/usr" ] || [ -L "$bundle/rootfs/usr" ] || mkdir -m 0755 "$bundle/rootfs/usr"
  if [ "$cfg_version" = 1.0.0 ]; then
    set -- --oci-bundle="$bundle"
  else
    eval "set -- --directory=\"\$bundle/rootfs\" $nspawn_options -- $nspawn_words"
  fi
  # what a shell starts by & would never hear an interrupt or a quit
  rm -f "$room/$name.pid"
  (detached --fork /bin/sh -c 'echo "$$" >"$0" && exec "$@"' "$room/$name.pid" \
    systemd-nspawn --quiet --register=no --keep-unit --link-journal=no --console=pipe --machine="$name" "$@") </dev/null >&7 2>&1 7>&- 8>&- 9>&-
  until [ -s "$room/$name.pid" ]; do nap; done
  parent=$(cat "$room/$name.pid")
  run_pid=$parent run_start=$(start_time "$parent") waited=0
  until pid=$(payload_of "$parent") && [ -n "$pid" ]; do
    # what ends before it is seen has ended all the same, and is judged as such
    is_alive || {
      pid=$parent
      return 0
    }
    [ "$waited" -lt 100 ] || {
      kill -KILL "$parent" 2>/dev/null
      return 1
    }
    waited=$((waited + 1))
    nap
  done
}

# systemd-nspawn stands before its own: its child that is the first process of a namespace.
payload_of() {
  grep -l "^PPid:.$1\$" /proc/[0-9]*/status 2>/dev/null | while read -r child; do
    ! grep -q '^NSpid:.*[[:space:]]1$' "$child" || printf '%s\n' "$child" | cut -d/ -f3
  done
}

nap() { sleep 0.1 2>/dev/null || sleep 1; }

# stop_running NAME SECONDS: what read_started found is asked to end, then killed, then cleaned away.
stop_running() {
  [ "$alive" = yes ] || {
    clear_engine "$1"
    return 0
  }
  engine_room
  asked=ask_engine
  read_config "$1" "$run_generation" facts
  signal_running "$1" "$cfg_signal"
  await_death "$2" || {
    signal_running "$1" KILL
    await_death 10 || die E_BUSY_MOUNT "cannot stop $1: its process $run_pid does not die"
  }
  alive=no
  clear_engine "$1"
}

signal_running() {
  case $run_engine in
  runc | crun) oci_tool "$run_engine" kill "$1" "$2" ;;
  podman) ask_engine podman kill --signal "$2" "$1" ;;
  # its own process ends with its payload
  nspawn) kill "-$2" "$run_pid" ;;
  esac >/dev/null 2>&1
}

await_death() {
  waited=0
  while is_alive; do
    [ "$waited" -lt $(($1 * 10)) ] || return 1
    waited=$((waited + 1))
    nap
  done
}

clear_engine() {
  engine_room
  asked=ask_engine
  case $run_engine in
  runc | crun) ! has "$run_engine" || ! [ -e "$room/$run_engine/$1" ] || oci_tool "$run_engine" delete -f "$1" ;;
  podman) ! has podman || ask_engine podman rm -f -i "$1" ;;
  esac >/dev/null 2>&1
  rm -f "$room/$1.pid" "$room/$1.seccomp"
}

# Whether an engine runs something else under this name, where the two would share what is named by it.
need_free_name() {
  engine_room
  for tool in runc crun; do
    [ -e "/run/$tool/$1" ] && has "$tool" || continue
    case $(ask_engine "$tool" state "$1" 2>/dev/null) in
    *'"status": "stopped"'* | '') ;;
    *) die E_RUNNING "cannot start $1: $tool runs a container of that name that varve did not start" ;;
    esac
  done
  for known in /run/varve/runc/"$1" /run/varve/crun/"$1" /run/varve/*/runc/"$1" /run/varve/*/crun/"$1"; do
    case $known in "$room/runc/$1" | "$room/crun/$1") continue ;; esac
    [ ! -e "$known" ] || die E_RUNNING "cannot start $1: a container of that name runs from another store"
  done
  [ "$engine" != podman ] || ! has podman || ! ask_engine podman container exists "$1" 2>/dev/null ||
    [ "$(ask_engine podman inspect --format '{{index .Config.Labels "varve.store"}}' "$1" 2>/dev/null)" = "$store" ] ||
    die E_RUNNING "cannot start $1: podman has a container of that name that varve did not make"
}

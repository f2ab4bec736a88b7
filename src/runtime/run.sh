# Starts, restarts and stops what is current; where the new one is not well, what ran before runs again.

# run NAME start|restart|switch EXPECTED ENGINE STOP BOOT HEALTH SECONDS UPPER: switch restarts what is not current only;
# EXPECTED 0 is whatever is current; ENGINE, STOP and BOOT are - for what is remembered; HEALTH is none, tcp:PORT or
# cmd:WORD; UPPER is fresh or keep.
verb_run() {
  need_run "$@"
  name=$1 manner=$2 health=$7 seconds=$8 uppers=$9
  check_store
  [ -d "$store/c/$name" ] || die E_NO_CONTAINER "cannot $manner $name: the host has no such container"
  take_own_lock "$name" 60
  take_lock 60
  recover
  find_current "$name" && to=$current
  [ "$to" != 0 ] || die E_NO_CONTAINER "cannot $manner $name: it has no generation"
  [ "$3" = 0 ] || [ "$3" = "$to" ] || die E_CONFLICT "cannot $manner $name: generation $to is current now, not $3"
  read_service "$name"
  choose_engine "$name" "$4" "$to"
  [ "$5" = - ] || svc_stop=$5
  [ "$6" = - ] || svc_boot=$6
  read_started "$name"
  if [ "$manner" = start ] && [ "$alive" = yes ] && [ "$run_generation" != "$to" ]; then die E_RUNNING "cannot start $name: generation $run_generation runs"; fi
  if [ "$manner" = start ] && [ "$alive" = yes ] && [ "$engine" != "$run_engine" ] && [ "$4" != - ]; then die E_RUNNING "cannot start $name on $engine: it runs on $run_engine"; fi
  # what was started by a run that was cut short was never judged: it is started again
  if [ "$manner" != restart ] && [ "$alive" = yes ] && [ "$run_generation" = "$to" ] && ! read_switching "$name"; then
    svc_want=up
    write_service "$name"
    mark_boot
    printf 'ran %s %s %s\n' "$run_generation" "$run_engine" "$run_since"
    return 0
  fi
  converge "$name" || exit 1
  may_start "$to"
  [ "$uppers" = fresh ] || may_carry
  if read_switching "$name"; then from=$from_generation; elif [ "$alive" = yes ]; then from=$run_generation from_engine=$run_engine; else from=0 from_engine=-; fi
  printf '%s %s %s\n' "$from" "$from_engine" "$to" | put "$store/c/$name/switching" || die_of 'note the restart'
  : run noted
  [ "$uppers" = keep ] || drop_lock
  engine_room
  desk=$room/desk.$name
  rm -rf "$desk" && mkdir "$desk" || die E_IO "cannot make $desk"
  switch_run
}

need_run() {
  need_name "$1" && need_number "$3" && need_number "$8"
  case $2 in start | restart | switch) ;; *) die E_PROTO 'cannot run: it is none of start, restart and switch' ;; esac
  [ "$4" = - ] || is_engine "$4" || die E_PROTO 'cannot use an engine: it is none'
  [ "$5" = - ] || need_number "$5"
  case $6 in - | yes | no) ;; *) die E_PROTO 'cannot mark for boot: it is neither yes nor no' ;; esac
  case $7 in none | cmd:=*) ;; tcp:*) need_number "${7#tcp:}" ;; *) die E_PROTO 'cannot check health: it is of no kind' ;; esac
  case $9 in fresh | keep) ;; *) die E_PROTO 'cannot use a writable layer: it is neither fresh nor kept' ;; esac
}

# may_start NUMBER: all that can be known before what runs is stopped. Dies where something stands against it.
may_start() {
  read_config "$name" "$1" facts
  need_fit "$name" "$1" "$engine"
  read_record "$name" "$1" || die E_STORE_DAMAGED "cannot read $store/c/$name/gen/$1: it is not whole"
  need_exec "$gen_rootfs"
  need_free_name "$name"
  [ "$alive" = yes ] || need_idle "$name"
  case $health,$cfg_network in tcp:*,host) need_free_port "$name" "${health#tcp:}" ;; esac
  case $health in cmd:*) [ "$engine" != nspawn ] || die E_NO_ENGINE "cannot check the health of $name by a command: systemd-nspawn has no way to" ;; esac
}

# need_exec overlay|copy|-: an engine mounts a copy, and what is persisted, as the store is mounted; an overlay has flags of its
# own. "flag nosuid|noexec MOUNT" is what of it will not work.
need_exec() {
  # shellcheck disable=SC2046 # two words
  set -- "$1" $(awk -v path="$(readlink -f "$store")" '
    ($5 == "/" || path == $5 || index(path, $5 "/") == 1) && length($5) >= longest { longest = length($5); found = $5 " ," $6 "," }
    END { print found }' /proc/self/mountinfo)
  case $1$3 in
  copy*,noexec,*) die E_STORE "cannot start $name: $2 is mounted noexec, and its root filesystem is a copy there (mount -o remount,exec $2)" ;;
  copy*,nosuid,*) printf 'flag nosuid %s\n' "$2" ;;
  overlay*,noexec,*) [ -z "$svc_persist" ] || printf 'flag noexec %s\n' "$2" ;;
  esac
}

# The writable layer of a generation is no place for two.
need_idle() {
  for number in $(running | sed -n "s/^running $1 //p"); do
    die E_RUNNING "cannot start $1: a process runs on generation $number that varve did not start"
  done
}

may_carry() {
  read_record "$name" "$to"
  case $(cp --help 2>&1) in *--attributes-only*) ;; *) die E_TOOL "cannot keep the writable layer of $name: cp on the host keeps no extended attributes" ;; esac
  [ "$gen_rootfs" = overlay ] || die E_OVERLAY "cannot keep the writable layer of $name: generation $to is a copy"
}

# From here on nothing dies: what fails sends what ran before back to work.
switch_run() {
  began=$(ticks)
  before=$from
  if [ "$alive" = yes ]; then
    said=$(stop_running "$name" "$svc_stop") || {
      rm -f "$store/c/$name/switching"
      printf '%s\n' "$said"
      exit 3
    }
  fi
  : run stopped
  if [ "$uppers" = keep ] && [ "$from" != 0 ] && [ "$from" != "$to" ] && ! carry "$name" "$from" "$to"; then
    why="its writable layer cannot be carried over: $(head -n 1 "$desk/err" | tr -c ' -~' ' ')"
    drop_lock
    go_back start
    return
  fi
  drop_lock
  if start_one "$to" "$engine" && up_at=$(ticks) && is_well "$name" "$health" "$seconds"; then
    [ "$health" = none ] || up_at=$(ticks)
    read_started "$name"
    svc_want=up
    write_service "$name"
    rm -f "$store/c/$name/switching"
    : run switched
    mark_boot
    printf 'started %s %s %s %s\n' "$run_generation" "$run_engine" "$run_since" "$((up_at - began))"
    printf 'was %s\n' "$before"
    [ "$before" = 0 ] || [ "$before" = "$to" ] || [ "$uppers" = keep ] || wrote "$name" "$before"
    return 0
  fi
  case $why in *' refuses it: '*) go_back start ;; *) go_back health ;; esac
}

# start_one NUMBER ENGINE: sets why where it fails, in the engine's own words where it has any.
start_one() {
  log=$store/c/$name/log/$1
  log_from=$(stat -c %s "$log" 2>/dev/null) || log_from=0
  if said=$(launch "$name" "$1" "$2"); then
    read_started "$name"
    : run started
    return 0
  fi
  why=$(printf '%s\n' "$said" | sed -n 's/^die E_[A-Z_]* cannot start [^:]*: //p' | tail -n 1)
  [ -n "$why" ] || await_log "$name" "$1"
  [ -n "$why" ] || why=$(said_since | words_of_log)
  why="$2 refuses it: ${why:-it does not say why}"
  return 1
}

said_since() { tail -c "+$((log_from + 1))" "$log" 2>/dev/null; }

# Sets why of what ended. systemd-nspawn may have refused it without a word.
ended() {
  why='it ended'
  [ "$run_engine,$cfg_version" = nspawn,1.0.0 ] || return 0
  await_log "$name" "$run_generation"
  [ -z "$(said_since | head -c 1)" ] || return 0
  refused=$(refusal "$run_generation")
  [ -z "$refused" ] || why="nspawn refuses it: $refused"
}

# The last line, without what runc and podman put around their words.
words_of_log() { grep -v '^$' | tail -n 1 | sed 's/^time=.* msg="\(.*\)"$/\1/; s/\\"/"/g' | tr -c ' -~\n' '?' | cut -c1-400; }

# systemd-nspawn tells what it refuses of a config.json at its debug level only. It reads one before it finds that these two
# options exclude each other, so that nothing is run.
refusal() {
  SYSTEMD_LOG_LEVEL=debug ask_engine systemd-nspawn --quiet --register=no --keep-unit --machine="$name" \
    --oci-bundle="$store/c/$name/bundle/$1" --network-namespace-path=/proc/self/ns/net --network-veth 2>&1 | grep 'config\.json' | words_of_log
}

# go_back start|health: what is not well is stopped, and what ran before it is current and runs again.
go_back() {
  failed=$why
  read_started "$name"
  [ "$run_generation" != "$to" ] || (stop_running "$name" "$svc_stop") >/dev/null
  back=0
  if [ "$from" != 0 ] && [ "$from" != "$to" ] && (return_to "$from") >"$desk/said"; then
    if start_one "$from" "$from_engine" && is_well "$name" none 1; then back=$from; else failed="$failed; and generation $from does not start again: $why"; fi
  fi
  rm -f "$store/c/$name/switching"
  if [ "$back" = 0 ]; then
    # at the next boot, or by hand: what is wanted did not change
    read_started "$name"
    [ "$alive" = no ] || (stop_running "$name" "$svc_stop") >/dev/null
  fi
  printf 'failed %s %s %s %s\n' "$to" "$back" "$1" "$failed"
  await_log "$name" "$to"
  for number in "$to" $([ "$from" = 0 ] || [ "$from" = "$to" ] || printf %s "$from"); do
    printf '==> log of generation %s\n' "$number"
    tail -c 8192 "$store/c/$name/log/$number" 2>/dev/null | tail -n 40
    printf '\n'
  done >"$desk/logs"
  printf 'payload %s\n' "$(stat -c %s "$desk/logs")" && cat "$desk/logs"
}

# return_to NUMBER: an older generation is current again as it was, with what it wrote. The number given up is not used again.
return_to() {
  # a shell of its own, which ends with none of them
  held_own='' desk=''
  take_lock 60
  find_current "$name"
  read_record "$name" "$1" || exit 1
  if [ "$gen_rootfs" = overlay ]; then mount_generation "$name" "$1" "$gen_stack" || exit 1; fi
  # somebody may have pushed meanwhile: that stays current
  if [ "$current" = "$to" ]; then
    ln -s "gen/$1" "$store/c/$name/.cur.$$" && mv -T "$store/c/$name/.cur.$$" "$store/c/$name/current" && sync "$store/c/$name" || exit 1
    (link_bundle "$name" "$1")
  fi
  drop_lock
}

# stop NAME: what runs is stopped and wanted no more; a mark for boot stays.
verb_stop() {
  need_name "$1"
  [ "$2" = - ] || need_number "$2"
  check_store
  [ -d "$store/c/$1" ] || die E_NO_CONTAINER "cannot stop $1: the host has no such container"
  take_own_lock "$1" 60
  read_service "$1"
  [ "$2" = - ] || svc_stop=$2
  svc_want=down
  write_service "$1"
  read_started "$1"
  rm -f "$store/c/$1/switching"
  if [ "$alive" = no ]; then
    need_idle "$1"
    clear_engine "$1"
    return 0
  fi
  began=$(ticks) stopped=$run_generation
  stop_running "$1" "$svc_stop"
  printf 'stopped %s %s\n' "$stopped" "$(($(ticks) - began))"
}

# ready NAME ENGINE PORT|- ROOTFS|-: what may_start says before anything is sent; prints the engine that would run it.
verb_ready() {
  need_name "$1"
  name=$1
  [ "$2" = - ] || is_engine "$2" || die E_PROTO 'cannot use an engine: it is none'
  [ "$3" = - ] || need_number "$3"
  check_store
  read_service "$1"
  read_started "$1"
  choose_engine "$1" "$2" 0
  printf 'engine %s\n' "$engine"
  need_exec "$4"
  need_free_name "$1"
  [ "$alive" = yes ] || need_idle "$1"
  [ "$3" = - ] || need_free_port "$1" "$3"
}

# How a container is to be run, and what of it runs: c/NAME/service is what the operator wants, c/NAME/started what was started.

# Sets svc_*: want is up or down, persist a list of paths, a line each.
read_service() {
  svc_want=down svc_boot=no svc_stop=10 svc_persist=
  [ -e "$store/c/$1/service" ] || return 0
  while read -r key value; do
    case $key in
    want) svc_want=$value ;;
    boot) svc_boot=$value ;;
    stop) svc_stop=$value ;;
    persist) svc_persist=$svc_persist$value$newline ;;
    esac
  done <"$store/c/$1/service"
}

write_service() {
  {
    printf 'want %s\nboot %s\nstop %s\n' "$svc_want" "$svc_boot" "$svc_stop"
    printf %s "$svc_persist" | sed 's/^/persist /'
  } | put "$store/c/$1/service" || die E_IO "cannot write $store/c/$1/service"
}

# Sets run_* to what was started last, and alive to whether it still is. A process is known by its number and start time.
read_started() {
  run_engine=- run_generation=0 run_pid=0 run_since=0 run_start='' run_boot='' alive=no
  [ -e "$store/c/$1/started" ] || return 0
  while read -r key value; do
    case $key in
    engine) run_engine=$value ;;
    generation) run_generation=$value ;;
    pid) run_pid=${value% *} run_start=${value#* } ;;
    since) run_since=$value ;;
    boot) run_boot=$value ;;
    esac
  done <"$store/c/$1/started"
  read -r booted 2>/dev/null </proc/sys/kernel/random/boot_id || booted=
  [ "$run_boot" != "$booted" ] || ! is_alive || alive=yes
}

write_started() {
  run_engine=$2 run_generation=$3 run_pid=$4 run_start=$(start_time "$4") run_since=$(date +%s)
  read -r booted 2>/dev/null </proc/sys/kernel/random/boot_id || booted=
  printf 'engine %s\ngeneration %s\npid %s %s\nsince %s\nboot %s\n' "$2" "$3" "$4" "$run_start" "$run_since" "$booted" |
    put "$store/c/$1/started" || die E_IO "cannot write $store/c/$1/started"
}

# Whether the process run_pid is still the one of run_start. Without a tool, for it is asked often; who waits to be reaped is dead.
is_alive() {
  read -r stat 2>/dev/null <"/proc/$run_pid/stat" || return 1
  set -f
  # shellcheck disable=SC2086 # words
  set -- ${stat##*) }
  set +f
  case $1 in Z | X) return 1 ;; esac
  shift 19
  [ "$1" = "$run_start" ]
}

# Whether a start or a restart was cut short. Sets from_generation and from_engine to what ran before it.
read_switching() {
  from_generation=0 from_engine=-
  [ -e "$store/c/$1/switching" ] || return 1
  read -r from_generation from_engine <"$store/c/$1/switching"
}

service_record() {
  read_service "$1"
  read_started "$1"
  if [ "$alive" = yes ]; then at="$run_generation $run_pid $run_since $run_engine"; else at='0 0 0 -'; fi
  cut=no
  ! read_switching "$1" || if own_lock_taken "$1"; then cut=now; else cut=yes; fi
  printf 'service %s want %s boot %s stop %s switching %s runs %s\n' "$1" "$svc_want" "$svc_boot" "$svc_stop" "$cut" "$at"
  for persisted in $svc_persist; do printf 'persist %s %s\n' "$1" "$persisted"; done
}

is_engine() { case $1 in runc | crun | podman | nspawn | none) ;; *) return 1 ;; esac; }

has_engine() { case $1 in nspawn) has systemd-nspawn ;; none | -) return 1 ;; *) has "$1" ;; esac; }

no_engine() { die E_NO_ENGINE "cannot start $1: the host has none of runc, crun, podman and systemd-nspawn"; }

# choose_engine NAME ASKED|- NUMBER: sets engine to what was asked for, what the generation was made for, or the first that the host has.
choose_engine() {
  engine=$2
  if [ "$engine" = - ] && [ "$3" != 0 ]; then
    read_config "$1" "$3" facts
    engine=${cfg_engine:--}
  fi
  if [ "$engine" = - ]; then
    for engine in runc crun podman nspawn -; do ! has_engine "$engine" || break; done
  fi
  case $engine in
  -) no_engine "$1" ;;
  none)
    for known in runc crun podman nspawn; do ! has_engine "$known" || die E_NO_ENGINE "cannot start $1: it is kept without an engine"; done
    no_engine "$1"
    ;;
  esac
  is_engine "$engine" || die E_PROTO "cannot use an engine: it is none"
  has_engine "$engine" || {
    others=
    for known in runc crun podman nspawn; do ! has_engine "$known" || others="$others${others:+, }$known"; done
    die E_NO_ENGINE "cannot start $1: the host has no $engine${others:+, but $others}"
  }
}

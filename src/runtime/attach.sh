# Logs and exec: the answer is "ok", and from there on the session's streams and its status are those of the command.

# word_of WORD: prints what a client could not say in plain characters; it begins with "=" and has octal escapes.
word_of() { printf '%b' "${1#=}"; }

# inside NAME LIMIT COMMAND...: replaces this shell by the command in the container that runs; LIMIT are words before it.
inside() {
  called=$1 limit=$2
  shift 2
  engine_room
  read_config "$called" "$run_generation" facts
  case $run_engine in
  runc) set -- runc --root "$room/runc" exec "$called" "$@" ;;
  # it would run the command as root
  crun) set -- crun --root "$room/crun" exec --user "$cfg_uid:$cfg_gid" "$called" "$@" ;;
  podman) set -- podman exec --interactive "$called" "$@" ;;
  *) exit 1 ;;
  esac
  apart
  # shellcheck disable=SC2086 # words
  exec $limit "$@" 7>&- 8>&- 9>&-
}

# exec NAME WORD...
verb_exec() {
  need_name "$1"
  check_store
  name=$1
  shift
  for word; do
    decoded=$(word_of "$word" && printf x)
    set -- "$@" "${decoded%x}"
    shift
  done
  read_started "$name"
  [ "$alive" = yes ] || die E_NOT_RUNNING "cannot run a command in $name: it does not run"
  [ "$run_engine" != nspawn ] || die E_NO_ENGINE "cannot run a command in $name: systemd-nspawn has no way to"
  printf 'ok\n'
  inside "$name" '' "$@"
}

# logs NAME GENERATION LINES FOLLOW: GENERATION 0 is what runs or ran last; FOLLOW is yes or no.
verb_logs() {
  need_name "$1" && need_number "$2" && need_number "$3"
  check_store
  [ -d "$store/c/$1" ] || die E_NO_CONTAINER "cannot show the log of $1: the host has no such container"
  number=$2
  if [ "$number" = 0 ]; then
    read_started "$1"
    number=$run_generation
  fi
  log=$store/c/$1/log/$number
  [ -e "$log" ] || [ -e "$log.old" ] || die E_GEN "cannot show the log of $1: generation $number has none"
  printf 'ok\n'
  if [ "$4" = yes ]; then
    tail -n "$3" -F "$log" 2>/dev/null &
    # the end of the client is the end of standard input
    cat >/dev/null
    kill "$!"
    return 0
  fi
  cat "$log.old" "$log" 2>/dev/null | tail -n "$3"
}

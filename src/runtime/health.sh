# Whether what was started is well: it lives, listens on a port of its own, or answers a command; by /proc alone where it can.

# is_well NAME HEALTH SECONDS: waits until it is; sets why and fails where it is not. HEALTH is none, tcp:PORT or cmd:WORD.
is_well() {
  deadline=$(($(ticks) + $3 * 100)) why=
  # whoever says nothing of health wants at least what does not fall over at once
  [ "$2" != none ] || deadline=$(($(ticks) + 100))
  while :; do
    is_alive || { ended; return 1; }
    # alive until then is all that none asks for: at the deadline the loop ends well
    case $2 in
    tcp:*) ! is_listening "${2#tcp:}" || return 0 ;;
    cmd:*) ! answers "$1" "${2#cmd:}" "$((deadline - $(ticks)))" || return 0 ;;
    esac
    [ "$(ticks)" -lt "$deadline" ] || break
    nap
  done
  case $2 in
  none) return 0 ;;
  tcp:*) why="nothing of it listens on port ${2#tcp:} after $3 s" ;;
  *) why="its health command did not succeed within $3 s" ;;
  esac
  return 1
}

# Hundredths of a second since the host was booted.
ticks() {
  read -r up _ </proc/uptime
  printf %s "${up%.*}${up#*.}"
}

# sockets_on PORT PID: inodes of the sockets that listen there, in the network of the process.
sockets_on() {
  awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }' "/proc/$2/net/tcp" "/proc/$2/net/tcp6" 2>/dev/null
}

# holders INODES DIRECTORY...: who has one of these sockets among the descriptors in directories /proc/PID/fd/, a line each.
holders() {
  sought=$(printf %s "$1" | tr '\n' ' ')
  shift
  # of one directory alone ls would not say the name
  # shellcheck disable=SC2012 # what stands there is numbers
  ls -l "$@" /proc/self/fdinfo/ 2>/dev/null | awk -v sought=" $sought " '
    /^\/proc\/[0-9]+\/fd\/:$/ { split($0, part, "/"); pid = part[3]; next }
    / -> socket:\[[0-9]+\]$/ { inode = $NF; gsub(/[^0-9]/, "", inode); if (index(sought, " " inode " ")) print pid }'
}

# The processes of what runs are those in the mount namespace of its first.
members() {
  home=$(readlink "/proc/$run_pid/ns/mnt") || return 0
  # shellcheck disable=SC2012 # what stands there is numbers
  ls -l /proc/[0-9]*/ns/mnt 2>/dev/null | sed -n "s/.* \/proc\/\([0-9]*\)\/ns\/mnt -> $(printf %s "$home" | sed 's/[][]/\\&/g')\$/\1/p"
}

is_listening() {
  inodes=$(sockets_on "$1" "$run_pid")
  [ -n "$inodes" ] || return 1
  set --
  for member in $(members); do set -- "$@" "/proc/$member/fd/"; done
  [ -n "$(holders "$inodes" "$@")" ]
}

# need_free_port NAME PORT: dies where something other than the container that runs listens there on the host.
need_free_port() {
  inodes=$(sockets_on "$2" self)
  [ -n "$inodes" ] || return 0
  found=$(holders "$inodes" /proc/[0-9]*/fd/)
  ours=$newline
  [ "$alive" = no ] || ours=$newline$(members)$newline
  for holder in $found; do
    case $ours in *"$newline$holder$newline"*) return 0 ;; esac
  done
  holder=${found%%"$newline"*}
  [ -z "$holder" ] || holder=" by $(tr -cd 'A-Za-z0-9_.-' 2>/dev/null <"/proc/$holder/comm") (process $holder)"
  die E_PORT "cannot start $1: port $2 is taken$holder"
}

# answers NAME WORD HUNDREDTHS: the container's own shell runs the command.
answers() {
  patience=$(($3 / 100 + 1))
  engine_room
  asked=ask_engine
  command=$(word_of "$2" && printf x)
  (
    limit=
    ! has timeout || limit="timeout -s KILL $patience"
    inside "$1" "$limit" /bin/sh -c "${command%x}"
  ) </dev/null >/dev/null 2>&1
}

# The loop: reads one request a line, "VERB WORD ...", each word plain ASCII; answers in order. End of input ends it.
# A request whose last word is "stream" has bytes behind it, in frames: a line with a length, the bytes; 0 ends them.

# A subshell each, so that a failure ends the verb and drops its lock, not the session.
answer() (
  set -f
  # shellcheck disable=SC2086 # words are split on purpose: none holds a blank or a pattern character
  set -- $words
  set +f
  "verb_$verb" "$@"
)

unframe() { while read -r frame && [ "$frame" -gt 0 ]; do head -c "$frame" || break; done; }

# A boot says its one request on the command line.
if [ "${5-}" = boot ]; then
  verb=boot words=$6
  answer
  exit
fi

failed=no

# "then VERB ...": only where every receive since the last survey went well, and its client was there to be answered. So a
# switch can be asked for together with what it stands on.
request() {
  if [ "$verb" = then ]; then
    verb=${words%% *} words=${words#* }
    if [ "$failed" = yes ]; then
      case $words in *' stream') unframe >/dev/null ;; esac
      printf 'die E_PROTO cannot go on: what came before was not received\n'
      return
    fi
  fi
  [ "$verb" != survey ] || failed=no
  case $verb in
  # they have the streams of the session for themselves
  exec | logs)
    answer
    exit
    ;;
  survey | engines | usage | receive | activate | converge | rollback | gc | rm | verify | outline | manifest | repair | signatures | run | stop | ready | persist | unpersist)
    case $words in
    *' stream') unframe | {
      answer
      status=$?
      cat >/dev/null
      exit "$status"
    } ;;
    *) answer ;;
    esac
    case $? in
    0)
      if printf 'ok\n'; then return; fi
      ;;
    3) ;; # it died with a word of its own
    *) printf 'die E_BUG the runtime failed in %s\n' "$verb" ;;
    esac
    ;;
  *) printf 'die E_PROTO the runtime knows no verb of that name\n' ;;
  esac
  [ "$verb" != receive ] || failed=yes
}

# The first one may stand on the command line, so that it is answered with the start.
if [ -n "${7-}" ]; then
  verb=${7%% *} words=${7#* }
  request
fi
while read -r verb words; do request; done

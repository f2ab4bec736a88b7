# The loop: reads one request a line, "VERB WORD ...", each word plain ASCII; answers in order. End of input ends it.

while read -r verb words; do
  case $verb in
  survey | receive | activate | converge | rollback | gc | rm | verify | manifest | repair)
    # a subshell each, so that a failure ends the verb and drops its lock, not the session
    # shellcheck disable=SC2086 # words are split on purpose: none holds a blank or a pattern character
    (
      set -f
      set -- $words
      set +f
      "verb_$verb" "$@"
    )
    case $? in
    0) printf 'ok\n' ;;
    3) ;; # it died with a word of its own
    *) printf 'die E_BUG the runtime failed in %s\n' "$verb" ;;
    esac
    ;;
  *) printf 'die E_PROTO the runtime knows no verb of that name\n' ;;
  esac
done

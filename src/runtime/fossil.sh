# Applies the fossil that this text stands in: its head has set fossil_* (see delta/fossil.ts). Stands in for serve.sh there.

unset runtime_text # what runs here is of no use in the store

# fossil_apply: prints records, or dies, as a verb does.
fossil_apply() {
  need_name "$fossil_name" && need_stack "$fossil_stack"
  check_store
  for used in $fossil_needs; do
    is_id "$used" && [ -e "$store/tree/$used/ok" ] ||
      die E_BASE_MISSING "cannot apply the fossil: it is made against $fossil_against, of which $store lacks the tree $used"
  done
  for tool in $fossil_tools; do has "$tool" || die E_TOOL "cannot apply the fossil: it needs $tool, which is not there"; done
  expected=0 number=1
  if [ -e "$store/format" ]; then
    find_current "$fossil_name" && expected=$current number=$(next_of "$fossil_name")
    if [ "$expected" != 0 ] && read_record "$fossil_name" "$expected" && [ "$gen_stack $gen_config" = "$fossil_stack ${fossil_config%% *}" ]; then
      (verb_converge "$fossil_name") || exit 3
      printf 'current %s\n' "$expected"
      return 0
    fi
  fi
  # shellcheck disable=SC2086 # numbers
  set -- ${fossil_config#* }
  config_head=$1 config_tail=$2
  fossil_left=$((fossil_payload - ${fossil_runtime#* } - config_head - config_tail))
  behind=$fossil_left nth=1
  while delta=$(printf %s "$fossil_deltas" | cut -d ';' -f "$nth") && [ -n "$delta" ]; do
    # shellcheck disable=SC2086 # words of ids and numbers
    set -- $delta
    tree=$1 base=$2
    fossil_size=$3
    shift 2
    [ -e "$store/tree/$tree/ok" ] || (verb_receive "$tree" "$base" fossil "$@") || exit 3
    fossil_left=$((fossil_left - fossil_size)) nth=$((nth + 1))
    case $fossil_deltas in *';'*) ;; *) break ;; esac
  done
  rootfs=$fossil_rootfs
  case $rootfs,$fossil_stack in overlay,*,*) ;; overlay,*) grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || rootfs=copy ;; esac
  path=$store/c/$fossil_name/bundle/$number/rootfs
  # shellcheck disable=SC2086 # two numbers
  { fossil_part "$((behind + config_head + config_tail))" "$config_head" && printf %s "$path" && fossil_part "$((behind + config_tail))" "$config_tail"; } |
    (verb_activate "$fossil_name" "$expected" "$number" "$fossil_stack" "$rootfs" "${fossil_config%% *}" $((config_head + config_tail + ${#path})) $fossil_seen) || exit 3
}

answer=$(fossil_apply)
case $? in
0)
  case $answer in
  *"current "*) echo "$fossil_name is up to date: generation ${answer##*current }" ;;
  *) echo "$fossil_name is at generation ${answer##*generation }" ;;
  esac
  echo "run it: cd $bundles/$fossil_name && runc run $fossil_name"
  ;;
*)
  answer=$(printf '%s\n' "$answer" | sed -n 's/^die //p' | tail -n 1)
  printf 'varve: %s\n' "${answer#* }" >&2
  case $answer in E_HASH*) exit 3 ;; E_LOCKED* | E_CONFLICT*) exit 6 ;; '') exit 1 ;; *) exit 4 ;; esac
  ;;
esac

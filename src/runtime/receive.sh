# Turns a delta that lies in the login user's spool into a published tree, or changes nothing.

# receive TREE BASE SPOOL SIZE SHA256 CODEC RAW [SIZE:RAW ...]: a hash-correct tree/TREE afterwards. The delta begins with
# a frame for each SIZE:RAW, which is decoded with the files that stage/r1, r2 ... name before it; the tar with these is behind.
# With "fossil" as SPOOL the delta is a part of the fossil that runs; with "inline" it follows in frames, behind a last word "stream".
# receive TREE BASE stream: the same of a plain tar on standard input, from a client on this machine.
verb_receive() {
  tree=$1 base=$2 spool=$3
  need_id "$tree"
  if [ "$spool" != stream ]; then
    size=$4 sum=$5 codec=$6 raw=$7
    need_id "$sum" && { [ "$spool" = fossil ] || [ "$spool" = inline ] || need_id "$spool"; } && need_number "$size" && need_number "$raw"
    for part in $(printf %s "${codec%+same}" | tr , ' '); do need_number "${part#*:}"; done
    shift 7
    frames='' place=0
    for frame; do
      [ "$frame" != stream ] || continue
      frames="$frames $frame"
      need_number "${frame%:*}" && need_number "${frame#*:}"
      place=$((place + ${frame%:*}))
    done
  fi
  [ "$base" = - ] || need_id "$base"
  open_store
  take_lock 60
  recover
  : step recovered
  install_runtime
  printf 'receive %s %s\n' "$tree" "$$" | put "$store/tx/intent" || die_of 'note the intent'
  : step intent
  if [ -e "$store/tree/$tree/ok" ] && { [ ! -e "$store/tree/$tree/suspect" ] || tree_is_whole "$tree"; }; then
    printf 'present %s\n' "$tree"
    drop_spool
    return 0
  fi
  # aside, not away: a container may still stand on what is left of it
  [ ! -e "$store/tree/$tree" ] || mv -T "$store/tree/$tree" "$store/tree/$tree.bad.$(random_id)" || die E_IO "cannot set aside tree $tree"
  [ "$spool" = stream ] || take_delta
  : step taken
  if [ "$base" != - ]; then
    need_whole "$base"
    known_of "$base" >"$store/tx/known" # before links to it count as changes
    cp -al "$store/tree/$base/root" "$store/in/base" 2>"$store/tx/linking" &
    linking=$!
  fi
  unpack
  : step unpacked
  for used in $(sed -n 's/^uses //p' "$store/stage/steps"); do
    [ "$used" != "$base" ] || continue
    need_whole "$used"
    known_of "$used" >>"$store/tx/known"
  done
  [ "$spool" = stream ] || unpack_frames
  build
  : step built
  write_manifest "$store/stage/root" "$store/stage/xattrs" "$store/tx/known" "$store/stage/hashed" >"$store/stage/manifest" 2>"$store/tx/err" || die_of 'verify the tree'
  if [ "$(sha256_of "$store/stage/manifest")" != "$tree" ]; then
    for used in $(sed -n 's/^uses //p' "$store/stage/steps"); do set_aside_if_damaged "$used"; done
    die E_HASH "cannot publish the tree: what was built is not $tree"
  fi
  : step verified
  mkdir "$store/stage/t" && mv -T "$store/stage/root" "$store/stage/t/root" && mv -T "$store/stage/manifest" "$store/stage/t/manifest" &&
    printf 'varve-tree 1\n' >"$store/stage/t/ok" || die_of 'publish the tree'
  for told in xattrs hashed; do
    ! [ -s "$store/stage/$told" ] || mv -T "$store/stage/$told" "$store/stage/t/$told" || die_of 'publish the tree'
  done
  flush "$store/stage" || die E_IO "cannot publish the tree: sync failed on $store"
  : step flushed
  mv -T "$store/stage/t" "$store/tree/$tree" 2>"$store/tx/err" || die_of 'publish the tree'
  : step published
  sync "$store/tree" "$store/stage" || die E_IO "cannot publish the tree: sync failed on $store"
  new_epoch
  : step durable
  recover
  fill_reserve
  drop_spool
}

drop_spool() { ! is_id "$spool" || rm -f "$login_home/.cache/varve/spool/$spool"; }

# The spool is the login user's: what counts is root's own copy, hashed after it was made. Root's spool needs no copy.
take_delta() {
  if ! is_id "$spool"; then
    delta=$store/in/delta
    if [ "$spool" = fossil ]; then fossil_part "$fossil_left" "$size"; else cat; fi >"$delta" 2>"$store/tx/err" || die_of 'copy the delta'
    [ "$(sha256_of "$delta")" = "$sum" ] || die E_HASH 'cannot take the delta: its SHA-256 is wrong'
    return 0
  fi
  delta=$login_home/.cache/varve/spool/$spool
  [ -f "$delta" ] && [ ! -L "$delta" ] || die E_HASH "cannot take the delta: $delta is no regular file"
  [ "$(stat -c %u "$delta")" = "$login_uid" ] || die E_HASH "cannot take the delta: $delta is not owned by uid $login_uid"
  [ "$(stat -c %s "$delta")" = "$size" ] || die E_HASH "cannot take the delta: it has $(stat -c %s "$delta") bytes, not $size"
  if [ "$login_uid" != 0 ]; then
    head -c "$size" <"$delta" >"$store/in/delta" 2>"$store/tx/err" || die_of 'copy the delta'
    delta=$store/in/delta
  fi
  [ "$(sha256_of "$delta")" = "$sum" ] || die E_HASH 'cannot take the delta: its SHA-256 is wrong'
}

# The members lie below stage/ and link to tree/<id>/root/..., so the store is the place to unpack at; stage/ is empty.
unpack() {
  if [ "$(tar --version 2>/dev/null | head -n 1 | cut -c1-9)" = 'tar (GNU ' ]; then
    tar_options='--numeric-owner --same-owner --delay-directory-restore --xattrs --xattrs-include=* --no-acls --no-selinux --warning=no-timestamp'
  else
    tar_options=
  fi
  set -f # the options are words, and * is not a pattern
  # shellcheck disable=SC2086
  set -- $tar_options
  set +f
  same=cat cut=no
  if [ "$spool" = stream ]; then
    untar "$@" || cut=yes
  else
    case $codec in *+same)
      same=unsame
      [ "$(sha256_of "$store/tree/$base/manifest")" = "$base" ] || set_aside "$base"
      ;;
    esac
    { decode 2>"$store/tx/decode" || : >"$store/tx/broken"; } | head -c "$raw" | $same | untar "$@" || cut=yes
  fi
  if [ -e "$store/tx/broken" ]; then
    ! is_full || no_space 'unpack the delta'
    [ "$same" = cat ] || set_aside_if_damaged "$base"
    die E_HASH "cannot decode the delta: $(tail -n 1 "$store/tx/decode")"
  fi
  if [ "$cut" = yes ]; then
    # what perl makes of runs may be no tar: a delta without them needs none
    if [ "$same" = cat ]; then blame 'unpack the delta'; else blame 'unpack the delta' E_HASH; fi
  fi
  [ "$(sed -n '1p;$p' "$store/stage/steps" 2>/dev/null)" = "varve-delta 1${newline}end" ] || die E_HASH 'cannot use the delta: its steps are not whole'
  grep -qx "tree $tree" "$store/stage/steps" && grep -qx "base $base" "$store/stage/steps" || die E_CONFLICT 'cannot use the delta: it is made for another tree or base'
  for found in "$store"/stage/* "$store"/stage/.[!.]*; do
    case ${found##*/} in steps | drop | alias | again | times | xattrs | m | k | j | l | p | s | r[1-9]* | '.[!.]*') ;; *) die E_PROTO 'cannot use the delta: it has an unknown member' ;; esac
  done
}

untar() { tar -xpf - -C "$store" "$@" 2>"$store/tx/err"; }

# The parts of the tar behind the frames: CODEC:SIZE, joined by commas.
decode() {
  for part in $(printf %s "${codec%+same}" | tr , ' '); do
    tail -c "+$((place + 1))" "$delta" 2>/dev/null | head -c "${part#*:}" | case ${part%:*} in
    zstd) zstd -dc ;;
    xz) xz -dc ;;
    gzip) gzip -dc ;;
    none) cat ;;
    *) false ;;
    esac || return 1
    place=$((place + ${part#*:}))
  done
}

need_whole() {
  is_id "$1" && [ -e "$store/tree/$1/ok" ] || die E_BASE_MISSING "cannot use tree $1: the host has none"
  [ ! -e "$store/tree/$1/suspect" ] || tree_is_whole "$1" || set_aside "$1"
}

set_aside_if_damaged() { tree_is_whole "$1" || set_aside "$1"; }

set_aside() {
  mv -T "$store/tree/$1" "$store/tree/$1.bad.$(random_id)"
  new_epoch
  die E_BASE_MISSING "cannot use tree $1: it is damaged on the host and was set aside"
}

# blame WHAT [CODE]: a step may have failed since a tree that it takes from is gone or damaged; then the client sends it all.
blame() {
  case $(cat "$store/tx/err") in *"No space left"* | *"uota exceeded"* | *"Read-only file system"*) die_of "$1" ;; esac
  ! is_full || no_space "$1"
  cp "$store/tx/err" "$store/tx/first"
  for used in $(sed -n 's/^uses //p' "$store/stage/steps" 2>/dev/null); do
    need_whole "$used"
    set_aside_if_damaged "$used"
  done
  mv "$store/tx/first" "$store/tx/err"
  [ -z "${2-}" ] || die "$2" "cannot $1: $(tail -n 1 "$store/tx/err" | tr -d '\000-\037\177' | cut -c1-300)"
  die_of "$1"
}

# The runtime, once a version: found again by its hash.
install_runtime() {
  [ -n "${runtime_text-}" ] && [ ! -e "$store/runtime/$runtime_id.sh" ] || return 0
  mkdir -p "$store/runtime"
  printf %s "$runtime_text" | put "$store/runtime/$runtime_id.sh" || die_of 'install the runtime'
}

# Builds a tree of the base and of what was unpacked, from links and copies; nothing is written to an inode that is shared.

# stage/root: the base linked, less what goes or is replaced, plus copies with new metadata (k, j, l), plus what is new (m),
# directories last.
build() {
  : >"$store/tx/err"
  if [ "$base" = - ] && ! has_copies; then
    mv -T "$store/stage/m" "$store/stage/root" || blame 'build the tree'
  else
    build_on_base
  fi
  # before it is hashed: an inode that loses a link has changed
  rm -rf "$store"/stage/[mkjlcps]
  [ -s "$store/stage/times" ] || return 0
  # shellcheck disable=SC2016 # the inner shell expands them
  (cd "$store/stage/root" && over "$store/stage/times" sh -c '
    for pair do
      touch -h -d "${pair%% *}" "${pair#* }" || exit 1
    done' sh) 2>"$store/tx/err" || blame 'set times'
}

has_copies() { [ -d "$store/stage/k" ] || [ -d "$store/stage/j" ] || [ -d "$store/stage/c" ] || [ -d "$store/stage/s" ]; }

build_on_base() {
  if [ "$base" = - ]; then
    mkdir "$store/stage/root" || blame 'build the tree'
  else
    wait "$linking" || { mv "$store/tx/linking" "$store/tx/err" && blame 'link the base'; }
    linking=
    mv -T "$store/in/base" "$store/stage/root" 2>"$store/tx/err" || blame 'link the base'
  fi
  if has_copies; then
    copies
    # nothing here writes to a copy that is known, or replaces one
    [ ! -d "$store/stage/s" ] || { cp -al "$store/stage/c/." "$store/stage/s/" && rm -rf "$store/stage/c" && mv -T "$store/stage/s" "$store/stage/c"; } 2>"$store/tx/err" || blame 'join the copies' E_HASH
    pairs alias ln || blame 'link the copies'
  fi
  drop_from_base || blame 'drop what went'
  [ ! -d "$store/stage/c" ] || join_copies || blame 'join the copies'
  # GNU cp leaves a directory that is there its setuid, setgid and sticky bits
  # shellcheck disable=SC2016 # the inner shell expands them
  (cd "$store/stage/root" && find . -type d '(' -perm -4000 -o -perm -2000 -o -perm -1000 ')' -exec sh -c '
    for path do
      [ ! -d "../m/$path" ] || chmod u-s,g-s,-t "$path" || exit 1
    done' sh {} +) 2>"$store/tx/err" || blame 'join what is new'
  cp -al "$store/stage/m/." "$store/stage/root/" 2>"$store/tx/err" || blame 'join what is new'
}

# What went, and what comes anew at the same path. Where a directory came or went, "drop" says so.
drop_from_base() (
  exec 2>"$store/tx/err"
  cd "$store/stage" || exit 1
  [ ! -s drop ] || cat drop >../tx/gone || exit 1
  for room in m c; do
    [ ! -d "$room" ] || (cd "$room" && find . ! -type d -print0) >>../tx/gone || exit 1
  done
  [ "$base" = - ] || [ ! -s ../tx/gone ] || (cd root && over ../../tx/gone rm -rf --)
)

# What is less is linked into what is more. Directories get their metadata last, of those above a copy none keeps what it has.
join_copies() (
  exec 2>"$store/tx/err"
  cd "$store/stage" || exit 1
  gone=$(tr -cd '\000' <../tx/gone | wc -c)
  if [ "$gone" -gt 1000 ] && [ "$(find root ! -type d | wc -l)" -lt "$gone" ]; then
    cp -al root/. c/ && rm -rf root && mv -T c root
  else
    cp -al c/. root/
  fi
)

# Files whose contents are here under other metadata. k and j hold empty files with the metadata: of copies from the same
# path of the base, and of copies from elsewhere, to which l links. A shared inode is never written to.
copies() {
  mkdir -p "$store/stage/c" || blame 'copy on the host'
  [ ! -d "$store/stage/s" ] || know_copied "$store/stage/s"
  [ ! -d "$store/stage/p" ] || patched || blame 'patch files' E_HASH
  pairs again cp || blame 'copy on the host'
  # last, so that nothing else is written to what is known to be a copy
  if [ -d "$store/stage/k" ]; then
    (cd "$store/stage/k" && find . -type f -print0) >"$store/tx/copies"
    # shellcheck disable=SC2016 # the inner shell expands them
    (cd "$store/tree/$base/root" && over "$store/tx/copies" sh -c 'to=$1; shift; cp --parents "$@" "$to/"' sh "$store/stage/c") 2>"$store/tx/err" || blame 'copy on the host'
    know_copies "$store/tree/$base/root"
  fi
  if [ -d "$store/stage/l" ]; then
    cp -RL "$store/stage/l/." "$store/stage/c/" 2>"$store/tx/err" || blame 'copy on the host'
    (cd "$store/stage/l" && find . -type f -print0) >"$store/tx/copies"
    know_copies "$store/stage/l"
  fi
  for skeleton in "$store/stage/k" "$store/stage/j"; do
    [ -d "$skeleton" ] || continue
    if cp --help 2>&1 | grep -q -e --attributes-only; then
      cp -a --attributes-only "$skeleton/." "$store/stage/c/" 2>"$store/tx/err" || blame 'copy metadata'
    else
      # shellcheck disable=SC2016 # the inner shell expands them
      (cd "$skeleton" && find . -type f -exec sh -c '
        to=$1
        shift
        for file do
          chown "$(stat -c %u:%g "$file")" "$to/$file" && chmod "$(stat -c %a "$file")" "$to/$file" && touch -r "$file" "$to/$file" || exit 1
        done' sh "$store/stage/c" {} +) 2>"$store/tx/err" || blame 'copy metadata'
    fi
  done
}

# know_copies FROM: of tx/copies, files below FROM that were copied to stage/c, those whose contents are known have known copies.
know_copies() {
  [ -s "$store/tx/known" ] || return 0
  (cd "$1" && over "$store/tx/copies" stat -c %i --) >"$store/tx/from" 2>"$store/tx/err" || blame 'copy on the host'
  know_copied "$store/stage/c"
}

# The same of files below TO that are copies of the inodes in tx/from.
know_copied() {
  [ -s "$store/tx/known" ] || return 0
  { (cd "$1" && over "$store/tx/copies" stat -c %i --) >"$store/tx/to" &&
    paste -d ' ' "$store/tx/from" "$store/tx/to" |
    awk 'NR == FNR { sum[$1] = $2; next } $1 in sum { print $2, sum[$1] }' "$store/tx/known" - >"$store/tx/new" &&
    cat "$store/tx/new" >>"$store/tx/known"; } 2>"$store/tx/err" || blame 'copy on the host'
}

# pairs WORD TOOL: what stage/WORD says, "FROM//TO" of files below stage/c each, by ln or cp.
pairs() (
  [ -s "$store/stage/$1" ] || exit 0
  exec 2>"$store/tx/err"
  # shellcheck disable=SC2016 # the inner shell expands them
  cd "$store/stage/c" && over "$store/stage/$1" sh -c '
    tool=$1
    shift
    for pair do
      file=${pair#*//}
      mkdir -p "${file%/*}" && "$tool" "${pair%%//*}" "$file" || exit 1
    done' sh "$2"
)

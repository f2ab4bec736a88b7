# Computes the canonical manifest of a tree from what is really on disk; its SHA-256 is the tree's id (see model/manifest.ts).

# write_manifest ROOT [XATTRS [KNOWN [HASHED]]]: prints it. Where getfattr is absent the xattr lines are taken from the file
# XATTRS. Of inodes that the file KNOWN tells, in lines "INODE SUM", no contents are read. HASHED gets what known_of asks for.
write_manifest() (
  cd "$1" || exit 1
  known=${3-} hashed=${4-}
  kinds=$(scratch) || exit 1
  trap 'rm -rf "$kinds"' EXIT
  if [ "$gnu_find" = yes ]; then
    find . -type d -fprint0 "$kinds/directories" -o -type f -fprint0 "$kinds/files" -o -type l -fprint0 "$kinds/symlinks" -o -fprint0 "$kinds/nodes" || exit 1
  else
    find . -type d -print0 >"$kinds/directories" && find . -type f -print0 >"$kinds/files" && find . -type l -print0 >"$kinds/symlinks" &&
      find . ! -type d ! -type f ! -type l -print0 >"$kinds/nodes" || exit 1
  fi
  for kind in directories files symlinks nodes; do sort -z -o "$kinds/$kind" "$kinds/$kind" || exit 1; done
  if [ "$gnu_stat" = yes ]; then inode='%i %.9Z'; else inode=%i; fi
  [ ! -s "$kinds/files" ] || over "$kinds/files" stat -c "$inode" -- >"$kinds/inodes" || exit 1
  # hashing reads all contents: it runs beside what reads metadata
  : >"$kinds/begun"
  { sums || : >"$kinds/failed"; } >"$kinds/sums" &
  if has getfattr; then { xattrs "$kinds" || : >"$kinds/failed"; } >"$kinds/xattrs" &
  elif [ -s "${2-}" ]; then cp "$2" "$kinds/xattrs"
  else : >"$kinds/xattrs"; fi
  printf 'varve-tree 1\n'
  section directories '%n//%f %u %g %.9Y' || exit 1
  section files '%n//%f %u %g %.9Y %s' || exit 1
  section symlinks '%n//%f %u %g %.9Y %s' || exit 1
  printf 'targets %s\n' "$(count symlinks)"
  targets || exit 1
  section nodes '%n//%f %u %g %.9Y %t:%T' || exit 1
  links >"$kinds/links" || exit 1
  wait
  [ ! -e "$kinds/failed" ] || exit 1
  printf 'sums %s\n' "$(count files)"
  cat "$kinds/sums"
  printf 'links %s\n' "$(wc -l <"$kinds/links" | tr -d ' ')"
  cat "$kinds/links"
  printf 'xattrs %s\n' "$(wc -l <"$kinds/xattrs" | tr -d ' ')"
  cat "$kinds/xattrs" || exit 1
  # what was written to since hashing began cannot have a change time from before
  if [ -n "$hashed" ] && [ "$gnu_stat" = yes ]; then
    { cat /proc/sys/kernel/random/boot_id && paste -d ' ' "$kinds/inodes" "$kinds/sums" |
      awk -v begun="$(stat -c %.9Z "$kinds/begun")" '$2 "" < begun ""'; } >"$kinds/hashed" 2>/dev/null && mv -T "$kinds/hashed" "$hashed"
  fi
  exit 0
)

# known_of TREE: "INODE SUM" of files that nobody wrote to since they were hashed, in this boot. An inode number may come
# again, and contents may change under the same time of modification, but never under the same time of change.
known_of() {
  [ "$gnu_stat" = yes ] && read -r boot <"$store/tree/$1/hashed" && [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] || return 0
  changes_of "$1" | awk 'NR == FNR { sum[$1 " " $2] = $3; next } $0 in sum { print $1, sum[$0] }' "$store/tree/$1/hashed" -
} 2>/dev/null

# "INODE CHANGED" of a tree's files.
changes_of() {
  if [ "$gnu_find" = yes ]; then
    find "$store/tree/$1/root" -type f -printf '%i %C@\n' | sed 's/0$//' # ten digits
  else
    find "$store/tree/$1/root" -type f -exec stat -c '%i %.9Z' -- {} +
  fi
}

# still_known TREE KNOWN: what KNOWN tells is good for the present times of change: those that the removal of links has set.
still_known() {
  {
    cat /proc/sys/kernel/random/boot_id && changes_of "$1" |
      awk 'NR == FNR { sum[$1] = $2; next } $1 in sum { print $0, sum[$1] }' "$2" -
  } >"$store/tx/hashed" && mv -T "$store/tx/hashed" "$store/tree/$1/hashed"
} 2>/dev/null

count() { tr -cd '\000' <"$kinds/$1" | wc -c | tr -d ' '; }

section() {
  printf '%s %s\n' "$1" "$(count "$1")"
  [ -s "$kinds/$1" ] || return 0
  if [ "$gnu_stat" = yes ]; then
    over "$kinds/$1" stat -c "$2" --
  else
    # BusyBox knows whole seconds only, and sets no others
    over "$kinds/$1" stat -c "$(printf %s "$2" | sed 's/%\.9Y/%Y.000000000/')" --
  fi
}

targets() {
  [ -s "$kinds/symlinks" ] || return 0
  if [ "$gnu_stat" = yes ]; then over "$kinds/symlinks" readlink --; else over "$kinds/symlinks" sh -c 'for link do readlink -- "$link" || exit 1; done' sh; fi
}

sums() {
  [ -s "$kinds/files" ] || return 0
  # names are told by lines here
  if [ ! -s "$known" ] || [ "$(tr -cd '\n' <"$kinds/files" | wc -c)" -gt 0 ]; then
    sums_of_all "$kinds/files"
    return
  fi
  : >"$kinds/unknown"
  tr '\000' '\n' <"$kinds/files" | paste -d ' ' "$kinds/inodes" - | awk -v unknown="$kinds/unknown" '
    NR == FNR { sum[$1] = $2; next }
    $1 in sum { print sum[$1]; next }
    { print "-"; sub(/^[^ ]* [^ ]* /, ""); print >unknown }' "$known" - >"$kinds/told" || return 1
  tr '\n' '\000' <"$kinds/unknown" >"$kinds/unknown.0"
  { [ ! -s "$kinds/unknown.0" ] || sums_of_all "$kinds/unknown.0"; } >"$kinds/new" || return 1
  awk -v new="$kinds/new" '$0 == "-" && (getline <new) < 1 { exit 1 } 1' "$kinds/told"
}

# By several processors at once, where split deals the names out to them.
sums_of_all() {
  jobs=$(nproc 2>/dev/null) || jobs=1
  [ "$jobs" -le 4 ] || jobs=4
  if [ "$jobs" = 1 ] || [ "$(tr -cd '\000' <"$1" | wc -c)" -lt 100 ] || ! split -t '\0' -n "r/$jobs" "$1" "$kinds/dealt." 2>/dev/null; then
    sums_of "$1"
    return
  fi
  for dealt in "$kinds"/dealt.*; do { sums_of "$dealt" || : >"$kinds/failed"; } >"$kinds/of.${dealt##*.}" & done
  wait
  # the last of them may be a line shorter
  paste -d '\n' "$kinds"/of.* | grep .
}

# OpenSSL's SHA-256, which is several times as fast as sha256sum where the processor knows it.
sums_python='
import hashlib, sys
for name in sys.stdin.buffer.read().split(b"\0")[:-1]:
    with open(name, "rb", 0) as file:
        whole = hashlib.sha256()
        for piece in iter(lambda: file.read(1 << 20), b""): whole.update(piece)
        print(whole.hexdigest())
'

# Hashes are told by position: a name that holds a newline could forge a line of sha256sum's output.
sums_of() {
  if has python3; then
    python3 -I -S -c "$sums_python" <"$1"
  elif sha256sum --zero /dev/null >/dev/null 2>&1; then
    over "$1" sha256sum --zero -- | tr '\n\000' '\001\n' | cut -c1-64
  else
    over "$1" sh -c 'for file do sha256sum <"$file" || exit 1; done' sh | cut -c1-64
  fi
}

# Files that share an inode within this tree, as "position first-position".
links() {
  [ -s "$kinds/files" ] || return 0
  awk '($1 in first) { print NR, first[$1]; next } { first[$1] = NR }' "$kinds/inodes"
}

xattrs() {
  cat "$1/directories" "$1/files" "$1/symlinks" "$1/nodes" | xargs -0 getfattr -h -d -m - -e hex --absolute-names -- 2>/dev/null |
    awk '/^# file: / { file = substr($0, 9); next }
      /^user\.overlay\./ { next }
      /^(user\.|trusted\.overlay\.opaque=|security\.capability=|system\.posix_acl_access=|system\.posix_acl_default=)/ { print file "//" $0 }' | sort
}

if stat -c %.9Y / 2>/dev/null | grep -q '\.[0-9]\{9\}$'; then gnu_stat=yes; else gnu_stat=no; fi
if find / -maxdepth 0 -printf %C@ 2>/dev/null | grep -q '\.[0-9]\{9\}0$'; then gnu_find=yes; else gnu_find=no; fi

# Computes the canonical manifest of a tree from what is really on disk; its SHA-256 is the tree's id (see model/manifest.ts).

# write_manifest ROOT [XATTRS]: prints it. Where getfattr is absent the xattr lines are taken from the file XATTRS.
write_manifest() (
  cd "$1" || exit 1
  kinds=$(scratch) || exit 1
  trap 'rm -rf "$kinds"' EXIT
  find . -type d -print0 | sort -z >"$kinds/directories" || exit 1
  find . -type f -print0 | sort -z >"$kinds/files" || exit 1
  find . -type l -print0 | sort -z >"$kinds/symlinks" || exit 1
  find . ! -type d ! -type f ! -type l -print0 | sort -z >"$kinds/nodes" || exit 1
  # hashing reads all contents: it runs beside what reads metadata
  { sums || : >"$kinds/failed"; } >"$kinds/sums" &
  printf 'varve-tree 1\n'
  section directories '%n//%f %u %g %.9Y' || exit 1
  section files '%n//%f %u %g %.9Y %s' || exit 1
  section symlinks '%n//%f %u %g %.9Y %s' || exit 1
  printf 'targets %s\n' "$(count symlinks)"
  targets || exit 1
  section nodes '%n//%f %u %g %.9Y %t:%T' || exit 1
  links >"$kinds/links" || exit 1
  if has getfattr; then xattrs "$kinds" >"$kinds/xattrs" || exit 1
  elif [ -s "${2-}" ]; then cp "$2" "$kinds/xattrs"
  else : >"$kinds/xattrs"; fi
  wait
  [ ! -e "$kinds/failed" ] || exit 1
  printf 'sums %s\n' "$(count files)"
  cat "$kinds/sums"
  printf 'links %s\n' "$(wc -l <"$kinds/links" | tr -d ' ')"
  cat "$kinds/links"
  printf 'xattrs %s\n' "$(wc -l <"$kinds/xattrs" | tr -d ' ')"
  cat "$kinds/xattrs"
)

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

# By several processors at once, where split deals the names out to them.
sums() {
  [ -s "$kinds/files" ] || return 0
  jobs=$(nproc 2>/dev/null) || jobs=1
  [ "$jobs" -le 4 ] || jobs=4
  if [ "$jobs" = 1 ] || [ "$(count files)" -lt 100 ] || ! split -t '\0' -n "r/$jobs" "$kinds/files" "$kinds/dealt." 2>/dev/null; then
    sums_of "$kinds/files"
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
  over "$kinds/files" stat -c %i -- | awk '($1 in first) { print NR, first[$1]; next } { first[$1] = NR }'
}

xattrs() {
  cat "$1/directories" "$1/files" "$1/symlinks" "$1/nodes" | xargs -0 getfattr -h -d -m - -e hex --absolute-names -- 2>/dev/null |
    awk '/^# file: / { file = substr($0, 9); next }
      /^user\.overlay\./ { next }
      /^(user\.|trusted\.overlay\.opaque=|security\.capability=|system\.posix_acl_access=|system\.posix_acl_default=)/ { print file "//" $0 }' | sort
}

if stat -c %.9Y / 2>/dev/null | grep -q '\.[0-9]\{9\}$'; then gnu_stat=yes; else gnu_stat=no; fi

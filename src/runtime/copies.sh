# Makes files of a delta's patches where there is neither perl nor python3: by dd, for patches that only copy.
#
# What lies in stage/p is as for runtime/patch.sh, but no copy has differences. All of it is read and checked by awk first,
# which says for each file lines "LITERALS PLACE LENGTH", the last of them "LITERALS - -".

# copied: runs in the store; what goes wrong is in tx/err.
copied() (
  cd "$store" || exit 1
  tr '\n\000' '\001\n' <stage/p/list >tx/list &&
    od -An -v -tu1 stage/p/ops 2>tx/err | awk "$copies_awk" tx/list - >tx/copies || unsound
  exec 3<stage/p/literals 4<tx/copies || exit 1
  # one process for each copy where dd can count bytes, else three
  if [ "$(printf abcd | dd bs=9 iflag=skip_bytes,count_bytes skip=1 count=2 2>/dev/null)" = bc ]; then ranges=yes; else ranges=no; fi
  over stage/p/list -n 3 sh -c "$copies_sh" sh "$ranges" 2>tx/err || unsound
)

unsound() {
  echo 'the patch of a file is not sound' >>"$store/tx/err"
  exit 1
}

copies_awk='
function bad() { failed = 1; exit 1 }
function is_path(path) { path = "/" path "/"; return !index(path, "//") && !index(path, "/./") && !index(path, "/../") }
function is_old(path) { return substr(path, 1, 5) == "tree/" && substr(path, 6, 64) ~ /^[0-9a-f]*$/ && substr(path, 70, 6) == "/root/" && length(path) > 75 }
# says what there is to do for the file
function finish(  count, i, place, left) {
  if (n % 4) bad()
  count = n / 4; left = literals[file]; place = 0
  for (i = 1; i <= count; i++) {
    place += op[2 * count + i] % 2 ? -(op[2 * count + i] + 1) / 2 : op[2 * count + i] / 2
    if (place < 0 || op[count + i] > 1048576 || op[3 * count + i] != 0) bad()
    printf "%.0f %.0f %.0f\n", op[i], place, op[count + i]
    place += op[count + i]; left -= op[i]; size[file] -= op[count + i]
  }
  if (left < 0 || size[file] != literals[file]) bad()
  printf "%.0f - -\n", left
  n = 0
  file++
}
function skip() { if (!file) file = 1; while (file <= files && !bytes[file]) finish() }
NR == FNR && NR % 3 == 1 { if (!is_path($0) || !is_old($0)) bad() }
NR == FNR && NR % 3 == 2 { if (!is_path($0)) bad() }
NR == FNR && NR % 3 == 0 {
  if ($0 !~ /^[0-9]+ [0-9]+ 0 0 0 [0-9]+$/ || length($0) > 50) bad()
  size[++files] = $1; bytes[files] = $2; literals[files] = $6
}
NR == FNR { listed = NR; next }
{
  for (i = 1; i <= NF; i++) {
    skip()
    if (file > files) bad()
    value = value * 128 + $i % 128
    if (value > 1073741824) bad()
    if ($i < 128) { op[++n] = value; value = 0 }
    if (!--bytes[file]) { if ($i >= 128) bad(); finish() }
  }
}
END {
  if (failed) exit 1
  skip()
  if (failed || listed % 3 || file != files + 1) exit 1
}
'

# For one file: where it is, where it comes to be, and its sizes. 255 ends xargs.
# shellcheck disable=SC2016 # the inner shell expands them
copies_sh='
ranges=$1 old=$2 new=$3 size=${4%% *}
literal() {
  [ "$1" -lt 1048576 ] || dd bs=1048576 count=$(($1 / 1048576)) <&3 || exit 255
  [ $(($1 % 1048576)) = 0 ] || dd bs=$(($1 % 1048576)) count=1 <&3 || exit 255
}
copy() {
  if [ "$ranges" = yes ]; then
    dd if="$old" bs=65536 iflag=skip_bytes,count_bytes skip="$1" count="$2" || exit 255
  else
    { dd bs=512 skip=$(($1 / 512)) count=0 && dd bs=1 skip=$(($1 % 512)) count=0 && dd bs="$2" count=1; } <"$old" || exit 255
  fi
}
[ -f "$old" ] || exit 255
case $new in */*) [ -d "stage/c/${new%/*}" ] || mkdir -p "stage/c/${new%/*}" || exit 255 ;; esac
while read -r literals place length <&4; do
  [ "$literals" = 0 ] || literal "$literals"
  [ "$place" != - ] || break
  [ "$length" = 0 ] || copy "$place" "$length"
done >"stage/c/$new"
[ "$(stat -c %s "stage/c/$new")" = "$size" ] || exit 255
'

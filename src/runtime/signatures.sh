# Says signatures of the blocks of old files, by which a client finds in a new file what the host has of it.
#
# A signature is what od and awk can compute without a process for each block (see delta/blocks.ts). perl does the same, ten
# times as fast.

# signatures LENGTH: LENGTH bytes of gzip follow on standard input: a word "BLOCK WIDTH PATH" for each file, a NUL behind it.
# The payload is WIDTH bytes for each BLOCK bytes of each file, and nothing for what is no file.
verb_signatures() {
  need_number "$1"
  own=$(scratch) || die E_IO "cannot write below $store/tx"
  trap 'rm -rf "$own"' EXIT
  head -c "$1" | gzip -dc >"$own/list" 2>/dev/null || die E_PROTO 'cannot read the list of files: it is cut'
  ! tr '\n\000' '\001\n' <"$own/list" | grep -qvE '^[1-9][0-9]{1,8} [4-7] tree/[0-9a-f]{64}/root/.' && ! tr '\000' '\n' <"$own/list" | grep -qE '(^|/)\.\.(/|$)' ||
    die E_PROTO 'cannot say signatures: the list names what is no file of a tree'
  if has perl; then
    (cd "$store" && perl -e "$signatures_perl" "$own/list") >"$own/signatures" 2>"$own/err"
  else
    (cd "$store" && signed "$own/list") >"$own/signatures" 2>"$own/err"
  fi || die E_IO "cannot say signatures: $(tail -n 1 "$own/err" | tr -d '\000-\037\177' | cut -c1-300)"
  printf 'payload %s\n' "$(stat -c %s "$own/signatures")" && cat "$own/signatures"
}

# awk cannot print a NUL everywhere: it prints words for printf.
signed() {
  # shellcheck disable=SC2016 # the inner shell expands them
  over "$1" sh -c '
    for file do
      path=${file#* * }
      [ -f "$path" ] || continue
      printf "file %s\n" "${file%% tree/*}" && od -An -v -tu4 "$path" || exit 1
    done' sh | awk "$signatures_awk" | tr '\n' '\000' | xargs -0 printf %b
}

signatures_awk='
function say(  spread, i) {
  spread = sum % 4294967296 * 40503 % 4294967296
  printf "\\0%03o\\0%03o\\0%03o", int(hash / 65536), int(hash / 256) % 256, hash % 256
  for (i = 3; i < width; i++) { printf "\\0%03o", int(spread / 16777216); spread = spread * 256 % 4294967296 }
  print ""
  lines = hash = sum = 0
}
$1 == "file" { if (lines) say(); block = $2 / 16; width = $3; next }
{
  hash = (hash * 69069 + $1 + 27073 * $2 + 51157 * $3 + 90373 * $4) % 16777213
  sum += $1 + $2 + $3 + $4
  if (++lines == block) say()
}
END { if (lines) say() }
'

signatures_perl='
use strict; use warnings FATAL => "all";
binmode STDOUT;
open my $list, "<:raw", $ARGV[0] or die "$!\n";
local $/ = "\0";
while (defined(my $file = readline $list)) {
  chomp $file;
  my ($block, $width, $path) = split / /, $file, 3;
  next unless -f $path;
  open my $in, "<:raw", $path or die "$path: $!\n";
  while (my $size = read $in, my $piece, $block) {
    $piece .= "\0" x (-$size % 16);
    my ($hash, $spread) = (0, unpack("%32V*", $piece) * 40503 % 4294967296);
    my @word = unpack "V*", $piece;
    for (my $i = 0; $i < @word; $i += 4) {
      $hash = ($hash * 69069 + $word[$i] + 27073 * $word[$i + 1] + 51157 * $word[$i + 2] + 90373 * $word[$i + 3]) % 16777213;
    }
    print substr(pack("N", $hash), 1), substr(pack("N", $spread), 0, $width - 3) or die "$!\n";
  }
}
close STDOUT or die "$!\n";
'

# Makes files of a delta's patches and of what the host holds: by perl, else by python3, whose program is the same.
#
# stage/p holds `list` (old path, new path and sizes, a NUL behind each) and the streams of all files, one behind the
# other: `ops`, `gaps`, `differences`, `literals` (see delta/patch.ts). Files come to be below stage/c, without metadata.

patch_perl='
use strict; use warnings FATAL => "all";
sub bad { die "the patch of \"$_[0]\" is not sound\n" }
my %in;
for my $name (qw(list ops gaps differences literals)) { open $in{$name}, "<:raw", "stage/p/$name" or die "stage/p/$name: $!\n" }
sub take {
  my ($name, $size, $new) = @_;
  my $bytes = "";
  $size == 0 or (read($in{$name}, $bytes, $size) || 0) == $size or bad $new;
  return $bytes;
}
local $/ = "\0";
my %made;
while (defined(my $old = readline $in{list})) {
  my $new = readline $in{list}; my $sizes = readline $in{list};
  defined $sizes or bad "?";
  chomp($old, $new, $sizes);
  $old =~ m{^tree/[0-9a-f]{64}/root/.} && "/$old/$new/" !~ m{/\.\.?/|//} or bad $new;
  $sizes =~ /^\d{1,15} \d{1,15} \d{1,15} \d{1,15} \d{1,15}\z/ or bad $new;
  my ($size, $ops, $gaps, $differences, $literals) = split / /, $sizes;
  my @op = unpack "w*", take("ops", $ops, $new);
  my @gap = unpack "w*", take("gaps", $gaps, $new);
  my @difference = unpack "V*", take("differences", $differences, $new);
  my $n = @op / 4;
  $n == int $n && @gap == @difference or bad $new;
  my ($made, $left) = (0, $literals);
  for my $i (0 .. 2 * $n - 1) { $op[$i] <= 1 << 30 or bad $new; $made += $op[$i] }
  for my $i (0 .. $n - 1) { $op[$n + $i] <= 1 << 20 or bad $new; $left -= $op[$i] }
  $left >= 0 && $made + $left == $size or bad $new;
  open my $from, "<:raw", $old or die "$old: $!\n";
  my $have = -s $from;
  my $to = "stage/c";
  my @part = split m{/}, $new;
  for my $part (@part[0 .. $#part - 1]) { $to .= "/$part"; $made{$to}++ or -d $to or mkdir $to or die "$to: $!\n" }
  open my $out, ">:raw", "stage/c/$new" or die "stage/c/$new: $!\n";
  my ($at, $g) = (0, 0);
  for my $i (0 .. $n - 1) {
    my ($literal, $length, $seek, $count) = @op[$i, $n + $i, 2 * $n + $i, 3 * $n + $i];
    print $out take("literals", $literal, $new) or die "stage/c/$new: $!\n" if $literal;
    $at += $seek % 2 ? -($seek + 1) / 2 : $seek / 2;
    $at >= 0 && $at + $length <= $have && $g + $count <= @gap or bad $new;
    seek $from, $at, 0;
    my $piece;
    (read($from, $piece, $length) || 0) == $length or bad $new;
    my $p = 0;
    for (my $end = $g + $count; $g < $end; $g++) {
      $p += $gap[$g];
      $p + 4 <= $length or bad $new;
      my $word = unpack("V", substr $piece, $p, 4) + $difference[$g];
      $word -= 4294967296 if $word >= 4294967296;
      substr($piece, $p, 4, pack "V", $word);
      $p += 4;
    }
    print $out $piece or die "stage/c/$new: $!\n";
    $at += $length;
  }
  for (; $left > 0; $left -= 1 << 20) { print $out take("literals", $left < 1 << 20 ? $left : 1 << 20, $new) or die "stage/c/$new: $!\n" }
  close $out or die "stage/c/$new: $!\n";
}
'

patch_python='
import os, re, struct, sys
def bad(new): sys.exit("the patch of %r is not sound" % new)
stream = {name: open("stage/p/" + name, "rb") for name in ("ops", "gaps", "differences", "literals")}
def take(name, size, new):
    data = stream[name].read(size)
    if len(data) != size: bad(new)
    return data
def numbers(data):
    made, value = [], 0
    for byte in data:
        value = value << 7 | byte & 127
        if byte < 128:
            made.append(value)
            value = 0
    return made
words = open("stage/p/list", "rb").read().split(b"\0")[:-1]
if len(words) % 3: bad("?")
for old, new, sizes in zip(words[::3], words[1::3], words[2::3]):
    if not re.match(rb"tree/[0-9a-f]{64}/root/.", old) or re.search(rb"/\.\.?/|//", b"/" + old + b"/" + new + b"/"): bad(new)
    if not re.match(rb"\d{1,15}( \d{1,15}){4}\Z", sizes): bad(new)
    size, ops, gaps, differences, literals = map(int, sizes.split())
    op, gap = numbers(take("ops", ops, new)), numbers(take("gaps", gaps, new))
    packed = take("differences", differences, new)
    difference = struct.unpack("<%dI" % (len(packed) // 4), packed[: len(packed) // 4 * 4])
    n = len(op) // 4
    left = literals - sum(op[:n])
    if len(op) % 4 or len(gap) != len(difference) or left < 0 or sum(op[: 2 * n]) + left != size or max(op[n : 2 * n], default=0) > 1 << 20: bad(new)
    to = b"stage/c/" + new
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(old, "rb") as source, open(to, "wb") as out:
        have = os.fstat(source.fileno()).st_size
        at = g = 0
        for literal, length, seek, count in zip(op[:n], op[n : 2 * n], op[2 * n : 3 * n], op[3 * n :]):
            if literal: out.write(take("literals", literal, new))
            at += -(seek + 1) // 2 if seek % 2 else seek // 2
            if at < 0 or at + length > have or g + count > len(gap): bad(new)
            source.seek(at)
            piece = bytearray(source.read(length))
            p = 0
            for g in range(g, g + count):
                p += gap[g]
                if p + 4 > length: bad(new)
                struct.pack_into("<I", piece, p, struct.unpack_from("<I", piece, p)[0] + difference[g] & 0xffffffff)
                p += 4
            if count: g += 1
            out.write(piece)
            at += length
        while left > 0:
            out.write(take("literals", min(left, 1 << 20), new))
            left -= 1 << 20
'

# patched: runs in the store; what goes wrong is in tx/err.
patched() {
  if has perl; then
    (cd "$store" && perl -e "$patch_perl") 2>"$store/tx/err"
  else
    (cd "$store" && python3 -c "$patch_python") 2>"$store/tx/err"
  fi
}

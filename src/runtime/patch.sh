# Makes files of a delta's patches and of what the host holds: by perl, else by python3, whose program is the same, else by dd.
#
# stage/p holds `list` (old path, new path and numbers, a NUL behind each) and the streams of all files, one behind the
# other: `ops`, `gaps`, `kinds`, `differences`, `literals` (see delta/streams.ts). Files come to be below stage/c, without
# metadata. By how much the old pieces moved is told for 16 bytes each, in `shifts` (see delta/addresses.ts).

patch_perl='
use strict; use warnings FATAL => "all"; no warnings "portable";
sub bad { die "the patch of \"$_[0]\" is not sound\n" }
my %in;
for my $name (qw(list ops gaps kinds differences literals)) { open $in{$name}, "<:raw", "stage/p/$name" or die "stage/p/$name: $!\n" }
sub take {
  my ($name, $size, $new) = @_;
  my $bytes = "";
  $size == 0 or (read($in{$name}, $bytes, $size) || 0) == $size or bad $new;
  return $bytes;
}
sub segments { map { [split /:/] } split /,/, $_[0] // "" }
sub bias { my $bias = 0; for (@{ $_[0] }) { $bias = $_->[1] - $_->[0] if $_[1] >= $_->[0] } $bias }
sub fill { my (undef, $from, $to, $shift) = @_; $from = ($from + 15) >> 4; $to = ($to + 15) >> 4; my $end = length($_[0]) >> 2; $to = $end if $to > $end; substr $_[0], 4 * $from, 4 * ($to - $from), pack("l>", $shift) x ($to - $from) if $to > $from }
local $/ = "\0";
my %made;
while (defined(my $old = readline $in{list})) {
  my $new = readline $in{list}; my $words = readline $in{list};
  defined $words or bad "?";
  chomp($old, $new, $words);
  $old =~ m{^tree/[0-9a-f]{64}/root/.} && "/$old/$new/" !~ m{/\.\.?/|//} or bad $new;
  $words =~ /^\d{1,15}(?: \d{1,15}){5}(?: \d{1,9}:\d{1,9}:\d{1,9}(?:,\d{1,9}:\d{1,9}:\d{1,9}){0,15}){0,2}\z/ or bad $new;
  my ($size, $ops, $gaps, $kinds, $differences, $literals, @loaded) = split / /, $words;
  my @op = unpack "w*", take("ops", $ops, $new);
  my @gap;
  my $kind = take("kinds", $kinds, $new);
  my $difference = take("differences", $differences, $new);
  my $n = @op / 4;
  my $all = @loaded ? length $kind : $differences / 4;
  $n == int $n && $differences == 4 * (@loaded ? $kind =~ tr/\0// : $all) && @loaded != 1 && (@loaded || $kind eq "") or bad $new;
  my ($made, $left) = (0, $literals);
  for my $i (0 .. 2 * $n - 1) { $op[$i] <= 1 << 30 or bad $new; $made += $op[$i] }
  for my $i (0 .. $n - 1) { $op[$n + $i] <= 1 << 20 or bad $new; $left -= $op[$i] }
  $left >= 0 && $made + $left == $size or bad $new;
  open my $from, "<:raw", $old or die "$old: $!\n";
  my $have = -s $from;
  my @segment = map { [segments $_] } @loaded ? @loaded : ("", "");
  my ($at, $is, $top, $shifts, @piece) = (0, 0, 0, "");
  for my $i (0 .. $n - 1) {
    my ($literal, $length, $seek) = @op[$i, $n + $i, 2 * $n + $i];
    $at += $seek % 2 ? -($seek + 1) / 2 : $seek / 2;
    $is += $literal;
    $at >= 0 && $at + $length <= $have or bad $new;
    my $v = $at + bias($segment[0], $at);
    push @piece, [$v, $length, $is + bias($segment[1], $is) - $v, $at, scalar grep { $at >= $_->[0] && $at < $_->[0] + $_->[2] } @{ $segment[0] }];
    $at += $length; $is += $length;
  }
  for (@{ $segment[0] }) { $top = $_->[1] + $_->[2] if $_->[1] + $_->[2] > $top }
  $top < 1 << 28 or bad $new;
  if (@loaded) {
    $shifts = "\0" x (4 * ($top >> 4) + 4);
    my @order = sort { $a->[0] <=> $b->[0] } grep { $_->[4] } @piece;
    for my $i (0 .. $#order) { fill($shifts, $i ? $order[$i][0] : 0, $i < $#order ? $order[$i + 1][0] : $top + 32, $order[$i][2]) }
    fill($shifts, $_->[0], $_->[0] + $_->[1], $_->[2]) for sort { $a->[1] <=> $b->[1] } grep { $_->[4] } @piece;
  }
  my ($base) = map { $_->[1] } grep { $_->[0] > 0 } @{ $segment[0] };
  $base //= 0;
  my $last = length($shifts) / 4 - 1;
  my $moved = @loaded ? vec $shifts, $base >> 4 > $last ? $last : $base >> 4, 32 : 0;
  my $to = "stage/c";
  my @part = split m{/}, $new;
  for my $part (@part[0 .. $#part - 1]) { $to .= "/$part"; $made{$to}++ or -d $to or mkdir $to or die "$to: $!\n" }
  open my $out, ">:raw", "stage/c/$new" or die "stage/c/$new: $!\n";
  my ($g, $d) = (0, 0);
  for my $i (0 .. $n - 1) {
    my ($literal, $length, $count) = @op[$i, $n + $i, 3 * $n + $i];
    my ($v, undef, $shift, $at) = @{ $piece[$i] };
    print $out take("literals", $literal, $new) or die "stage/c/$new: $!\n" if $literal;
    # as many as are needed: all of a large program would take more memory than the rest
    while (@gap < $count) {
      my $bytes = take("gaps", $gaps < 65536 ? $gaps : 65536, $new);
      $gaps -= length $bytes;
      while ($bytes ne "" && ord(substr $bytes, -1) > 127) { $gaps-- > 0 or bad $new; $bytes .= take("gaps", 1, $new) }
      $bytes ne "" or bad $new;
      push @gap, unpack "w*", $bytes;
    }
    seek $from, $at, 0;
    my $piece;
    (read($from, $piece, $length) || 0) == $length or bad $new;
    my ($p, @how) = (0, @loaded ? unpack "C$count", substr $kind, $g, $count : ());
    eval {
      use integer;
      for my $gap (splice @gap, 0, $count) {
        my $word = unpack "l<", substr $piece, $p += $gap, 4;
        if (my $how = shift @how) {
          my $to = ($how < 3 ? $v + $p + ($how < 2 ? 4 : 0) + $word : ($word & 0xffffffff) + ($how > 3 ? $base : 0)) >> 4;
          $word += vec($shifts, $to < 0 ? 0 : $to > $last ? $last : $to, 32) - ($how < 3 ? $shift : $how > 3 ? $moved : 0);
        } else { $word += unpack "V", substr $difference, 4 * $d++, 4 }
        substr $piece, $p, 4, pack "V", $word & 0xffffffff;
        $p += 4;
      }
      1;
    } && $p <= $length or bad $new;
    $g += $count;
    print $out $piece or die "stage/c/$new: $!\n";
  }
  $gaps == 0 && @gap == 0 && $g == $all && 4 * $d == $differences or bad $new;
  for (; $left > 0; $left -= 1 << 20) { print $out take("literals", $left < 1 << 20 ? $left : 1 << 20, $new) or die "stage/c/$new: $!\n" }
  close $out or die "stage/c/$new: $!\n";
}
'

patch_python='
import os, re, struct, sys
from array import array
def bad(new): sys.exit("the patch of %r is not sound" % new)
stream = {name: open("stage/p/" + name, "rb") for name in ("ops", "gaps", "kinds", "differences", "literals")}
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
def bias(segments, place):
    found = 0
    for offset, address, _ in segments:
        if place >= offset: found = address - offset
    return found
def fill(shifts, start, end, shift):
    start, end = (start + 15) >> 4, min((end + 15) >> 4, len(shifts))
    if end > start: shifts[start:end] = array("i", (shift,)) * (end - start)
words = open("stage/p/list", "rb").read().split(b"\0")[:-1]
if len(words) % 3: bad("?")
for old, new, line in zip(words[::3], words[1::3], words[2::3]):
    if not re.match(rb"tree/[0-9a-f]{64}/root/.", old) or re.search(rb"/\.\.?/|//", b"/" + old + b"/" + new + b"/"): bad(new)
    if not re.match(rb"\d{1,15}( \d{1,15}){5}( \d{1,9}:\d{1,9}:\d{1,9}(,\d{1,9}:\d{1,9}:\d{1,9}){0,15}){0,2}\Z", line): bad(new)
    line = line.split()
    size, ops, gaps, kinds, differences, literals = map(int, line[:6])
    segments = [[tuple(map(int, part.split(b":"))) for part in loaded.split(b",")] for loaded in line[6:]]
    op, gap, kind = numbers(take("ops", ops, new)), numbers(take("gaps", gaps, new)), take("kinds", kinds, new)
    packed = take("differences", differences, new)
    difference = iter(struct.unpack("<%dI" % (len(packed) // 4), packed[: len(packed) // 4 * 4]))
    n = len(op) // 4
    left = literals - sum(op[:n])
    if len(segments) == 1 or len(kind) != (len(gap) if segments else 0) or len(packed) // 4 != (kind.count(0) if segments else len(gap)): bad(new)
    if len(op) % 4 or left < 0 or sum(op[: 2 * n]) + left != size or max(op[n : 2 * n], default=0) > 1 << 20: bad(new)
    shifts, base, moved, last = array("i"), 0, 0, 0
    if not segments: kind, segments = bytes(len(gap)), [[], []]
    with open(old, "rb") as source:
        have = os.fstat(source.fileno()).st_size
        pieces, at, done = [], 0, 0
        for literal, length, seek in zip(op[:n], op[n : 2 * n], op[2 * n : 3 * n]):
            at += -(seek + 1) // 2 if seek % 2 else seek // 2
            done += literal
            if at < 0 or at + length > have: bad(new)
            address = at + bias(segments[0], at)
            pieces.append((address, length, done + bias(segments[1], done) - address, at))
            at += length
            done += length
        if segments[0]:
            top = max(address + held for _, address, held in segments[0])
            if top >= 1 << 28: bad(new)
            shifts = array("i", (0,)) * ((top >> 4) + 1)
            loaded = [piece for piece in pieces if any(offset <= piece[3] < offset + held for offset, _, held in segments[0])]
            order = sorted(loaded, key=lambda piece: piece[0])
            for i, piece in enumerate(order): fill(shifts, piece[0] if i else 0, order[i + 1][0] if i + 1 < len(order) else top + 32, piece[2])
            for piece in sorted(loaded, key=lambda piece: piece[1]): fill(shifts, piece[0], piece[0] + piece[1], piece[2])
            last = len(shifts) - 1
            base = next((address for offset, address, _ in segments[0] if offset > 0), 0)
            moved = shifts[min(base >> 4, last)]
        to = b"stage/c/" + new
        os.makedirs(os.path.dirname(to), exist_ok=True)
        get, put, g = struct.Struct("<I").unpack_from, struct.Struct("<I").pack_into, 0
        with open(to, "wb") as out:
            for literal, count, (v, length, shift, at) in zip(op[:n], op[3 * n :], pieces):
                if literal: out.write(take("literals", literal, new))
                if g + count > len(gap): bad(new)
                source.seek(at)
                piece = bytearray(source.read(length))
                p = 0
                for g in range(g, g + count):
                    p += gap[g]
                    if p + 4 > length: bad(new)
                    word, how = get(piece, p)[0], kind[g]
                    if how:
                        if how > 2: where = word + (base if how > 3 else 0)
                        else: where = v + p + (4 if how < 2 else 0) + (word if word < 2147483648 else word - 4294967296)
                        word += shifts[0 if where < 0 else min(where >> 4, last)] - (shift if how < 3 else moved if how > 3 else 0)
                    else: word += next(difference)
                    put(piece, p, word & 0xffffffff)
                    p += 4
                if count: g += 1
                out.write(piece)
            while left > 0:
                out.write(take("literals", min(left, 1 << 20), new))
                left -= 1 << 20
'

# patched: runs in the store; what goes wrong is in tx/err.
patched() {
  if has perl; then
    (cd "$store" && perl -e "$patch_perl") 2>"$store/tx/err"
  elif has python3; then
    (cd "$store" && python3 -c "$patch_python") 2>"$store/tx/err"
  else
    copied
  fi
}

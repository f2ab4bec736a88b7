# Turns runs of new metadata and places back into the members of a tar: of entries that stand in the base, and differ in nothing else.
#
# A delta whose codec ends in "+same" begins with a line "same BYTES BASE" and lines of runs (see delta/same.ts). perl makes
# members of them, with names and targets of the base's manifest, and passes on the tar behind. Copies come whole, below stage/s;
# large ones do not, since cp may share their blocks. What was copied is noted in tx/copies, the inodes of the old files in tx/from.

same_perl='
use strict; use warnings FATAL => "all";
binmode STDIN; binmode STDOUT;
sub bad { die "the metadata of the delta is not sound\n" }
my $ready = "";
sub flush {
  for (my $at = 0; $at < length $ready;) { $at += syswrite(STDOUT, $ready, length($ready) - $at, $at) // die "$!\n" }
  $ready = "";
}
defined(my $head = <STDIN>) or bad;
$head =~ /^same (\d{1,9}) ([0-9a-f]{64})\n\z/ or bad;
my ($size, $base) = ($1, $2);
my $runs = "";
$size == 0 or (read(STDIN, $runs, $size) || 0) == $size or bad;
my $manifest = do { open my $file, "<:raw", "tree/$base/manifest" or die "$!\n"; local $/; readline $file };
my @known;
$manifest =~ /\Avarve-tree 1\n/g or bad;
for my $kind (qw(directories files symlinks)) {
  $manifest =~ /\G$kind (\d+)\n/g or bad;
  for (1 .. $1) {
    $manifest =~ m{\G\.(?:/(.*?))??//([0-9a-f]+) (\d+) (\d+) (-?\d+\.\d{9})(?: (\d+))?\n}gs or bad;
    push @known, { kind => $kind, path => $1 // "", mode => oct("0x$2") & 07777, uid => $3, gid => $4, time => $5, size => $6, target => "" };
  }
}
$manifest =~ /\Gtargets \d+\n/g or bad;
for my $link (grep { $_->{kind} eq "symlinks" } @known) {
  $link->{target} = substr $manifest, pos $manifest, $link->{size};
  pos($manifest) += $link->{size} + 1;
}
sub block {
  my ($name, $mode, $size, $type) = @_;
  my $block = pack "a100 a8 a8 a8 a12 a12 A8 a1 a100 a6 a2 x247", $name, sprintf("%07o", $mode), "0000000", "0000000", sprintf("%011o", $size), "00000000000", "", $type, "", "ustar", "00";
  substr($block, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $block;
  return $block;
}
sub record {
  my $rest = " $_[0]=$_[1]\n";
  my $length = length $rest;
  return $length + ($length < 9 ? 1 : $length < 98 ? 2 : $length < 997 ? 3 : 4) . $rest;
}
my ($from, $to);
sub placed {
  my ($room, $path) = @_;
  if (defined $from) {
    $path eq $from || substr($path, 0, length "$from/") eq "$from/" or bad;
    $path = $to . substr $path, length $from;
  }
  return $path if $room eq "";
  return "stage/$room" . ($path eq "" ? "" : "/$path");
}
my %cached;
sub member {
  my ($type, $mode, $size, $path, $link, @owner) = @_;
  my $records = record(path => $path) . ($cached{"@owner"} //= record(uid => $owner[0]) . record(gid => $owner[1]) . record(mtime => $owner[2]));
  $records .= record(linkpath => $link) if defined $link;
  $ready .= ($cached{length $records} //= block("PaxHeader", 0644, length $records, "x")) . $records . "\0" x (-length($records) % 512) . block("same", $mode, $size, $type);
  flush if length $ready > 1 << 18;
}
my %note;
sub whole {
  my ($file, $size, $path, $mode, @owner) = @_;
  if (!%note) { for my $name (qw(copies from)) { open $note{$name}, ">:raw", "tx/$name" or die "$!\n" } }
  my @stat = lstat $file;
  @stat && -f _ && $stat[7] == $size && sysopen my $in, $file, 0 or die "$file is not what it was\n";
  member(0, $mode, $size, "stage/s/$path", undef, @owner);
  for (my $left = $size; $left > 0;) { $left -= sysread($in, $ready, $left, length $ready) || die "$file is not what it was\n" }
  $ready .= "\0" x (-$size % 512);
  print { $note{copies} } "$path\0" or die "$!\n";
  print { $note{from} } "$stat[1]\n" or die "$!\n";
}
sub entry {
  my ($entry, $time, $mode, @owner) = @_;
  push @owner, $time eq "=" ? $entry->{time} : $time;
  my $kind = $entry->{kind};
  return member($kind eq "directories" ? 5 : 2, $mode, 0, placed("m", $entry->{path}), $kind eq "symlinks" ? $entry->{target} : undef, @owner) if $kind ne "files";
  my $file = "tree/$base/root/$entry->{path}";
  return member(1, 0600, 0, placed("m", $entry->{path}), $file, 0, 0, 0) if $time eq "=";
  return whole($file, $entry->{size}, placed("", $entry->{path}), $mode, @owner) if $entry->{size} < 1 << 18;
  member(0, $mode, 0, placed(defined $from ? "j" : "k", $entry->{path}), undef, @owner);
  member(1, 0600, 0, placed("l", $entry->{path}), $file, 0, 0, 0) if defined $from;
}
my ($at, $when) = (0, undef);
for (split /\n/, $runs) {
  if (/^> ((?:[0-9a-f]{2})+) ((?:[0-9a-f]{2})+)\z/) {
    ($from, $to, $at, $when) = (pack("H*", $1), pack("H*", $2), 0, undef);
    "/$to/" !~ m{/\.\.?/|//|\0} or bad;
    next;
  }
  /^(\d{1,9}) (\d{1,9}) (-|=|-?\d{1,12}(?:\.\d{1,9})?)(?: ([0-7]{1,4}) (\d{1,10}) (\d{1,10}))?\z/ or bad;
  my ($skip, $count, $time, $mode, $uid, $gid) = ($1, $2, $3, $4, $5, $6);
  $when = $time if $time ne "-";
  defined $when && ($when ne "=" || defined $from) && ($at += $skip) + $count <= @known or bad;
  for my $entry (@known[$at .. $at + $count - 1]) {
    entry($entry, $when, defined $mode ? (oct $mode, $uid, $gid) : @$entry{qw(mode uid gid)});
  }
  $at += $count;
}
do { flush } while read STDIN, $ready, 1 << 16;
for (values %note) { close $_ or die "$!\n" }
close STDOUT or die "$!\n";
'

# unsame: a filter between the codec and tar.
unsame() { (cd "$store" && perl -e "$same_perl") 2>"$store/tx/decode" || : >"$store/tx/broken"; }

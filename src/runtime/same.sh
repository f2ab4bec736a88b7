# Turns runs of new metadata and places back into the members of a tar: of entries that stand in the base, and differ in nothing else.
#
# A delta whose codec ends in "+same" begins with a line "same BYTES BASE" and lines of runs (see delta/same.ts). perl makes
# members of them, with names and targets of the base's manifest, and passes on the tar behind.

same_perl='
use strict; use warnings FATAL => "all";
binmode STDIN; binmode STDOUT;
sub bad { die "the metadata of the delta is not sound\n" }
sub put { print @_ or die "$!\n" }
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
  my $length = 1 + length $rest;
  $length = length "$length$rest" while $length != length "$length$rest";
  return "$length$rest";
}
my ($from, $to);
sub placed {
  my ($room, $path) = @_;
  if (defined $from) {
    $path eq $from || substr($path, 0, length "$from/") eq "$from/" or bad;
    $path = $to . substr $path, length $from;
  }
  return "stage/$room" . ($path eq "" ? "" : "/$path");
}
sub member {
  my ($type, $mode, %record) = @_;
  my $records = join "", map { record($_ => $record{$_}) } grep { defined $record{$_} } qw(path uid gid mtime linkpath);
  put block("PaxHeader", 0644, length $records, "x"), $records, "\0" x (-length($records) % 512), block("same", $mode, 0, $type);
}
sub entry {
  my ($entry, $time, $mode, $uid, $gid) = @_;
  my %of = (uid => $uid, gid => $gid, mtime => $time eq "=" ? $entry->{time} : $time);
  if ($entry->{kind} eq "files") {
    my %old = (linkpath => "tree/$base/root/$entry->{path}", uid => 0, gid => 0, mtime => 0);
    return member(1, 0600, path => placed("m", $entry->{path}), %old) if $time eq "=";
    member(0, $mode, path => placed(defined $from ? "j" : "k", $entry->{path}), %of);
    member(1, 0600, path => placed("l", $entry->{path}), %old) if defined $from;
  } else {
    $of{linkpath} = $entry->{target} if $entry->{kind} eq "symlinks";
    member({ directories => 5, symlinks => 2 }->{ $entry->{kind} }, $mode, path => placed("m", $entry->{path}), %of);
  }
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
while (read STDIN, my $piece, 1 << 16) { put $piece }
close STDOUT or die "$!\n";
'

# unsame: a filter between the codec and tar.
unsame() { (cd "$store" && perl -e "$same_perl") 2>"$store/tx/decode" || : >"$store/tx/broken"; }

/**
 * The program of shiftTree, for Debian's perl-base: a process of its own, so that neither slow disks nor a million files stop our event loop. Perl has
 * no lchown and no extended attributes, hence the system calls by number (x86-64 and arm64).
 *
 * Order per file: capabilities are read before chown, which drops them, and written after it; so are setuid and setgid bits. A capability of a
 * container is one with the host id of the container's root (version 3); with root 0 it is an ordinary one (version 2). See capabilities(7).
 * ACLs: 4 bytes version, then per entry tag, permissions (2 bytes each) and id (4); only named users (2) and groups (8) have an id. See acl(5).
 */
export const shiftProgram = String.raw`
use strict; use warnings; no warnings 'recursion';
my ($top, @rules) = @ARGV;
my $arm = 0; { open my $f, '<', '/proc/self/exe' or die; binmode $f; read $f, my $head, 20; $arm = unpack('x18 v', $head) == 183; }
my ($fchownat, $lgetxattr, $lsetxattr) = $arm ? (54, 9, 6) : (260, 192, 189);
my (@u, @g);
for (@rules) { my ($kind, @rule) = split /:/; push @{$kind eq 'u' ? \@u : \@g}, \@rule; }
my (%cu, %cg);
sub shift_id { my ($rules, $cache, $id) = @_;
  return $cache->{$id} //= do { my $to = $id; for my $r (@$rules) { if ($id >= $r->[0] && $id <= $r->[1]) { $to = $id + $r->[2]; last } } $to };
}
my ($changed, $seen, %linked) = (0, 0);
my ($CAP, @ACL) = ('security.capability', 'system.posix_acl_access', 'system.posix_acl_default');
my $out = "\0" x 65536;
sub getx { my ($path, $name) = @_; my $p = $path; my $n = syscall($lgetxattr, $p, $name, $out, 65536); return $n < 0 ? undef : substr($out, 0, $n) }
sub setx { my ($path, $name, $value) = @_; my $p = $path; syscall($lsetxattr, $p, $name, $value, length $value, 0) == 0 or die "$name of $path: $!\n" }
sub one { my ($path) = @_;
  my @s = lstat $path or die "$path: $!\n";
  my ($dev, $ino, $mode, $nlink, $uid, $gid) = @s[0, 1, 2, 3, 4, 5];
  my $dir = -d _; my $link = -l _;
  $seen++;
  return ($dir, $dev) if !$dir && $nlink > 1 && $linked{"$dev:$ino"}++;
  my ($nu, $ng) = (shift_id(\@u, \%cu, $uid), shift_id(\@g, \%cg, $gid));
  my $caps = !$link && -f _ ? getx($path, $CAP) : undef;
  if ($nu != $uid || $ng != $gid) {
    my $p = $path;
    syscall($fchownat, -100, $p, $nu, $ng, 0x100) == 0 or die "$path: $!\n";
    chmod $mode & 07777, $path or die "$path: $!\n" if !$link && $mode & 06000;
    $changed++;
  }
  if (defined $caps && length $caps >= 20) {
    my ($magic) = unpack 'V', $caps;
    my $root = length $caps >= 24 ? unpack('x20 V', $caps) : 0;
    my $new = shift_id(\@u, \%cu, $root);
    my $bits = substr $caps, 4, 16;
    setx($path, $CAP, pack('V', ($magic & 0xffffff) | ($new ? 0x03000000 : 0x02000000)) . $bits . ($new ? pack('V', $new) : ''));
  }
  unless ($link) { for my $name ($dir ? @ACL : $ACL[0]) {
    my $acl = getx($path, $name) // next;
    my $new = substr $acl, 0, 4;
    for (my $i = 4; $i + 8 <= length $acl; $i += 8) {
      my ($tag, $perm, $id) = unpack 'v v V', substr $acl, $i, 8;
      $id = $tag == 2 ? shift_id(\@u, \%cu, $id) : $tag == 8 ? shift_id(\@g, \%cg, $id) : $id;
      $new .= pack 'v v V', $tag, $perm, $id;
    }
    setx($path, $name, $new) if $new ne $acl;
  } }
  return ($dir, $dev);
}
my %mounted;
{ open my $f, '<', '/proc/self/mountinfo' or die; while (<$f>) { my $t = (split / /)[4]; $t =~ s/\\([0-7]{3})/chr oct $1/ge; $mounted{$t} = 1 } }
sub tree { my ($path) = @_;
  my ($dir) = one($path);
  return unless $dir;
  opendir my $d, $path or die "$path: $!\n";
  my @names = grep { $_ ne '.' && $_ ne '..' } readdir $d;
  closedir $d;
  for (@names) { my $child = "$path/$_"; tree($child) unless $mounted{$child} }
}
$top =~ s{(?<=.)/+$}{};
tree($top);
print "$changed $seen\n";
`;

import { runOk } from '#host-kit';

/**
 * File systems that the container mounted itself (its /dev, /tmp) and idmapped ones take new files only from ids that they know: the host's root is none of
 * them. So what makes a mount point joins the container's user namespace, as its root, and its mount namespace: whatever the path holds, it leads nowhere
 * else. It stays out of the container's pid namespace, where nobody can see or trace it, and runs nothing of the container.
 */
const program = String.raw`
use strict; use warnings; use Fcntl; use Errno qw(EEXIST);
my ($pid, $file, $path) = @ARGV;
my $arm = 0; { open my $f, '<', '/proc/self/exe' or die; binmode $f; read $f, my $head, 20; $arm = unpack('x18 v', $head) == 183; }
my ($setns, $setresuid, $setresgid, $setgroups) = $arm ? (268, 147, 149, 159) : (308, 117, 119, 116);
my $same = readlink("/proc/$pid/ns/user") eq readlink('/proc/self/ns/user');
open my $mnt, '<', "/proc/$pid/ns/mnt" or die "namespace: $!\n";
if (!$same) {
  open my $user, '<', "/proc/$pid/ns/user" or die "namespace: $!\n";
  syscall($setns, fileno $user, 0x10000000) == 0 or die "setns user: $!\n";
  syscall $setgroups, 0, 0;
  syscall($setresgid, 0, 0, 0) == 0 or die "setresgid: $!\n";
  syscall($setresuid, 0, 0, 0) == 0 or die "setresuid: $!\n";
}
syscall($setns, fileno $mnt, 0x20000) == 0 or die "setns mnt: $!\n";
my @names = grep { length } split m{/}, $path;
my $last = $file ? pop @names : undef;
my $at = '';
for my $name (@names) { $at .= "/$name"; mkdir $at, 0755 or $! == EEXIST or die "mkdir: $!\n" }
if ($file) {
  $at .= "/$last";
  sysopen my $new, $at, O_WRONLY | O_CREAT | O_EXCL, 0644 or $! == EEXIST or die "create: $!\n";
}
`;

/** Makes the folder, or empty file, that something is to be mounted on in a running container; what exists stays. @throws Fault internal */
export async function makeMountpoint(pid: number, target: string, file: boolean): Promise<void> {
  await runOk('perl', ['-e', program, String(pid), file ? '1' : '', target], {
    failure: 'Could not make a mount point in the instance',
    timeoutMs: 10_000,
  });
}

import { fault } from '#kit';
import { runOk } from './run.js';

/**
 * Mounts in the mount namespace of a running container. A process of many threads, as ours, cannot enter one, so a small program of Debian's perl-base
 * does: it opens everything on the host first, enters, and makes one system call. Nothing of the container is run.
 */
const program = String.raw`
use strict; use warnings;
my ($pid, $verb, $target, $source, $recursive, $readonly, $idmapped) = @ARGV;
my $arm = 0; { open my $f, '<', '/proc/self/exe' or die; binmode $f; read $f, my $head, 20; $arm = unpack('x18 v', $head) == 183; }
my ($setns, $umount2) = $arm ? (268, 39) : (308, 166);
my ($open_tree, $move_mount, $mount_setattr) = (428, 429, 442);
my $empty = "\0"; my $all = $recursive ? 0x8000 : 0;
open my $ns, '<', "/proc/$pid/ns/mnt" or die "namespace: $!\n";
my $tree;
if ($verb eq 'mount') {
  $tree = syscall $open_tree, -100, $source, 1 | 0x80000 | $all; die "open_tree: $!\n" if $tree < 0;
  my $user; my $set = $readonly ? 1 : 0;
  if ($idmapped) { open $user, '<', "/proc/$pid/ns/user" or die "namespace: $!\n"; $set |= 0x100000 }
  my $attr = pack 'Q4', $set, 0, 0, $user ? fileno $user : 0;
  if ($set) { syscall($mount_setattr, $tree, $empty, 0x1000 | $all, $attr, length $attr) == 0 or die "mount_setattr: $!\n" }
}
syscall($setns, fileno $ns, 0x20000) == 0 or die "setns: $!\n";
if ($tree) { syscall($move_mount, $tree, $empty, -100, $target, 4) == 0 or die "move_mount: $!\n" }
else { syscall($umount2, $target, 2 | 8) == 0 or die "umount: $!\n" }
`;

export interface InjectOptions {
  recursive?: boolean;
  readonly?: boolean;
  /** Owners are mapped as the container's are. Not every file system can. */
  idmapped?: boolean;
}

/**
 * Shows a file, folder or device node of the host inside a running container.
 * @param pid of its init @param target absolute, in the container; must exist there (RootDir makes it)
 * @throws Fault internal with the system call that failed as its detail
 */
export async function injectMount(pid: number, source: string, target: string, options: InjectOptions = {}): Promise<void> {
  const flags = [options.recursive, options.readonly, options.idmapped].map((flag) => (flag ? '1' : ''));
  await enter(pid, 'mount', target, [source, ...flags], 'Could not mount into the instance');
}

/** Takes a mount out of a running container, lazily. @throws Fault internal: not mounted */
export async function ejectMount(pid: number, target: string): Promise<void> {
  await enter(pid, 'umount', target, [], 'Could not unmount from the instance');
}

async function enter(pid: number, verb: string, target: string, rest: string[], failure: string): Promise<void> {
  if (!target.startsWith('/')) throw fault.invalid(`Not an absolute path: ${target}`);
  await runOk('perl', ['-e', program, String(pid), verb, target, ...rest], { failure });
}

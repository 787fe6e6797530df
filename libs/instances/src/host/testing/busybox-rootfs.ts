import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Why real containers cannot be tried here; undefined when they can. */
export const cannotRunContainers = (): string | undefined => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  if (!existsSync('/usr/bin/lxc-start')) return 'needs liblxc (package lxc)';
  if (!existsSync('/bin/busybox')) return 'needs a static busybox (package busybox-static)';
  return undefined;
};

/** A small system below `rootfs`: busybox with init, root and one user. */
export function makeBusyboxRootfs(rootfs: string): void {
  for (const name of ['bin', 'sbin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root', 'run', 'var/log', 'usr/bin', 'usr/sbin', 'mnt']) {
    mkdirSync(join(rootfs, name), { recursive: true });
  }
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'));
  for (const applet of execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).split('\n')) {
    if (applet && applet !== 'busybox') symlinkSync('busybox', join(rootfs, 'bin', applet));
  }
  symlinkSync('../bin/busybox', join(rootfs, 'sbin/init'));
  writeFileSync(join(rootfs, 'etc/inittab'), '::sysinit:/etc/rcS\nconsole::respawn:/bin/sh -l\n::ctrlaltdel:/bin/reboot\n::shutdown:/bin/true\n');
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n');
  writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nuser:x:1000:\n');
  writeFileSync(join(rootfs, 'etc/rcS'), '#!/bin/sh\nmount -t tmpfs none /run\nip link set lo up\n', { mode: 0o755 });
}

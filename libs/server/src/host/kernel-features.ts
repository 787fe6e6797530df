import { existsSync, readFileSync } from 'node:fs';

/** What the kernel can do for containers, by the names of GET /1.0. Probed where a file tells it, else by the version that brought it. */
export function kernelFeatures(release: string): Record<string, string> {
  const listener = read('/proc/sys/kernel/seccomp/actions_avail').includes('user_notif');
  const features = {
    idmapped_mounts: atLeast(release, 5, 12),
    netnsid_getifaddrs: atLeast(release, 4, 20),
    seccomp_listener: listener,
    seccomp_listener_continue: listener && atLeast(release, 5, 5),
    shiftfs: /\bshiftfs$/m.test(read('/proc/filesystems')) || existsSync('/sys/module/shiftfs'),
    uevent_injection: atLeast(release, 4, 18),
    unpriv_fscaps: atLeast(release, 4, 14),
  };
  return Object.fromEntries(Object.entries(features).map(([name, has]) => [name, String(has)]));
}

export function atLeast(release: string, major: number, minor: number): boolean {
  const [its = 0, minors = 0] = release.split('.').map(Number);
  return its > major || (its === major && minors >= minor);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch {
    return '';
  }
}

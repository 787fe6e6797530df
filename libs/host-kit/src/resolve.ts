import { constants, fstatSync, readFileSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { fault } from '#kit';
import { check, checkRestarting, closeFd, cString, errorCode, libc, SystemError } from './libc.js';
import { listMounts } from './mountinfo.js';

/**
 * Paths inside a root that somebody else controls (an instance may change every link and mount below it while we look). Two ways:
 *
 * 1. openat2 with RESOLVE_IN_ROOT: the kernel keeps `..` and absolute links inside. Mounts are not crossed (RESOLVE_NO_XDEV).
 * 2. Where a mount is crossed, one name at a time, as chroot would do it, and the type of each file system that is entered is looked up first. A
 *    container may mount FUSE, and its server may never answer: one lookup there would stop our whole process.
 *
 * What these give are O_PATH descriptors: they name a thing without opening it, so a planted FIFO, device or lease has no effect.
 */
const SYS_openat2 = 437;
export const RESOLVE_NO_XDEV = 0x01n;
const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_IN_ROOT = 0x10n;
export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;
const linksMax = 40;
const { O_NOFOLLOW, O_DIRECTORY } = constants;

export interface ResolveOptions {
  /** Process whose /proc/PID/mountinfo names the mounts below the root. */
  pid: number | 'self';
  /** May a file system of this type be entered? */
  mayEnter: (type: string) => boolean;
}

/** What lxcfs shows in /proc is served by a program of the host; any other FUSE may be the container's own. */
export const mayEnterDefault = (type: string): boolean => !type.startsWith('fuse') || type === 'fuse.lxcfs';

/**
 * An O_PATH descriptor of a path inside a root; the caller closes it.
 * @param follow whether a symlink as the last name is followed
 * @throws SystemError ENOENT, ENOTDIR, ELOOP …; Fault unsupported: a file system that may not be entered
 */
export function resolveIn(root: number, path: string, follow: boolean, options: ResolveOptions): number {
  try {
    return openat2(root, path, O_PATH | (follow ? 0 : O_NOFOLLOW), 0, RESOLVE_NO_XDEV);
  } catch (error) {
    if (errorCode(error) !== 'EXDEV') throw error;
  }
  return walk(root, path, follow, options);
}

/** openat2 that stays inside `root` and follows no magic links. @throws SystemError */
export function openat2(root: number, path: string | Uint8Array, flags: number, mode: number, resolve = 0n): number {
  const how = new BigUint64Array([BigInt(flags | O_CLOEXEC), BigInt(mode), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve]);
  const bytes = new Uint8Array(how.buffer);
  const name = cString(path);
  for (;;) {
    try {
      // EAGAIN: a rename during the lookup made '..' uncertain.
      return checkRestarting(() => libc.openat2(SYS_openat2, root, name, bytes, bytes.length), 'openat2', String(path));
    } catch (error) {
      if (errorCode(error) !== 'EAGAIN') throw error;
    }
  }
}

/** The descriptors from the root to where the walk is: '..' goes back along it, and so can never leave. */
function walk(root: number, path: string, follow: boolean, options: ResolveOptions): number {
  const trail: { fd: number; mountId: number }[] = [];
  const rootMount = mountIdOf(root);
  const here = (): { fd: number; mountId: number } => trail.at(-1) ?? { fd: root, mountId: rootMount };
  const backTo = (length: number): void => {
    for (const step of trail.splice(length)) closeFd(step.fd);
  };
  let links = 0;
  let names = path.split('/');
  try {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        backTo(Math.max(0, trail.length - 1));
        continue;
      }
      const fd = check(libc.openat(here().fd, cString(name), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0), 'openat', path);
      const mountId = mountIdOf(fd);
      if (mountId !== here().mountId) refuseMount(fd, mountId, options);
      const last = names.every((rest) => rest === '' || rest === '.');
      const target = last && !follow ? undefined : linkTarget(fd);
      if (target === undefined) {
        trail.push({ fd, mountId });
        continue;
      }
      closeFd(fd);
      if (++links > linksMax) throw new SystemError('open', osConstants.errno.ELOOP, path);
      if (target.startsWith('/')) backTo(0);
      names = [...target.split('/'), ...names];
    }
    if (path.endsWith('/') && trail.length > 0 && !fstatSync(here().fd).isDirectory()) throw new SystemError('open', osConstants.errno.ENOTDIR, path);
    const end = trail.pop();
    return end ? end.fd : check(libc.openat(root, cString('.'), O_PATH | O_DIRECTORY | O_CLOEXEC, 0), 'openat', path);
  } finally {
    backTo(0);
  }
}

/** The kernel's number of the mount that a descriptor is on; asks no file system. */
function mountIdOf(fd: number): number {
  return Number(/^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]);
}

function refuseMount(fd: number, mountId: number, options: ResolveOptions): void {
  // The descriptor holds the mount, so its number cannot become another's meanwhile.
  const entry = listMounts(options.pid).find((mount) => mount.id === mountId);
  if (entry && options.mayEnter(entry.type)) return;
  closeFd(fd);
  throw fault.unsupported('The path leads into a file system that cannot be entered from outside the instance', {
    detail: `${entry?.type} at ${entry?.target}`,
  });
}

/** Where a symlink points; undefined for anything else. Links of /proc (magic links) count as dead ends. */
function linkTarget(fd: number): string | undefined {
  const out = new Uint8Array(4096);
  const length = libc.readlinkat(fd, '', out, out.length);
  return length < 0 ? undefined : Buffer.from(out.buffer, 0, length).toString();
}

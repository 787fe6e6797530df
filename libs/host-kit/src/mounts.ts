import { statfs } from 'node:fs/promises';
import { fault, faultPoint } from '#kit';
import { check, libc } from './libc.js';
import { runOk } from './run.js';

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_REMOUNT = 32;
const MS_BIND = 4096;
const MS_REC = 16384;
const MS_UNBINDABLE = 1 << 17;
const MS_PRIVATE = 1 << 18;
const MS_SLAVE = 1 << 19;
const MS_SHARED = 1 << 20;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const propagationFlags = { private: MS_PRIVATE, shared: MS_SHARED, slave: MS_SLAVE, unbindable: MS_UNBINDABLE };

export type Propagation = keyof typeof propagationFlags;

export interface BindOptions {
  recursive?: boolean;
  readonly?: boolean;
  nosuid?: boolean;
  nodev?: boolean;
  noexec?: boolean;
}

/**
 * Shows a file or folder at another place as well. Source and target are the host's own paths: symlinks in them are followed. Returns at once.
 * @throws SystemError ENOENT, ENOTDIR (file onto folder) …
 */
export function bindMount(source: string, target: string, options: BindOptions = {}): void {
  check(libc.mount(source, target, null, MS_BIND | (options.recursive ? MS_REC : 0), null), 'mount', target);
  faultPoint(`mounted: ${target}`);
  if (mountFlags(options) === 0) return;
  // A bind mount takes flags only in a second step; half of it must not stay.
  try {
    remountBind(target, options);
  } catch (error) {
    detach(target);
    throw error;
  }
}

/** Changes the flags of one mount, not of its file system; what is not named is off. @throws SystemError */
export function remountBind(target: string, options: BindOptions): void {
  check(libc.mount(null, target, null, MS_BIND | MS_REMOUNT | mountFlags(options), null), 'mount', target);
}

/** Whether mounts made below it appear in other namespaces. @throws SystemError EINVAL: not a mount point */
export function setPropagation(target: string, propagation: Propagation, recursive = false): void {
  check(libc.mount(null, target, null, propagationFlags[propagation] | (recursive ? MS_REC : 0), null), 'mount', target);
}

/** Takes a bind mount, or any mount lazily, out of the tree at once; whoever has files open there keeps them. @throws SystemError EINVAL: not a mount point */
export function detach(target: string): void {
  check(libc.umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW), 'umount', target);
  faultPoint(`detached: ${target}`);
}

export interface MountOptions {
  type?: string;
  /** As `mount -o`: ['ro', 'subvol=x']. */
  options?: readonly string[];
  timeoutMs?: number;
}

/**
 * Mounts a file system; by the mount program, since journals are replayed and servers asked meanwhile.
 * @throws Fault internal with what mount said as its detail
 */
export async function mountFilesystem(source: string, target: string, options: MountOptions = {}): Promise<void> {
  const type = options.type === undefined ? [] : ['-t', options.type];
  const how = options.options?.length ? ['-o', options.options.join(',')] : [];
  await runOk('mount', [...type, ...how, '--', source, target], { failure: 'Could not mount a file system', timeoutMs: options.timeoutMs });
}

/**
 * Unmounts a file system and waits until it is written back. Not mounted: an error, ask `mountAt` before.
 * @throws Fault conflict: still in use; internal
 */
export async function unmount(target: string, options: { lazy?: boolean; timeoutMs?: number } = {}): Promise<void> {
  try {
    await runOk('umount', [...(options.lazy ? ['-l'] : []), '--', target], {
      failure: 'Could not unmount a file system',
      timeoutMs: options.timeoutMs,
    });
  } catch (error) {
    if (/busy/.test((error as { detail?: string }).detail ?? '')) throw fault.conflict('The file system is in use', { cause: error });
    throw error;
  }
}

export interface SpaceUse {
  sizeBytes: number;
  usedBytes: number;
  /** To ordinary users; what is reserved for root is not counted. */
  freeBytes: number;
  inodes: number;
  inodesUsed: number;
}

/** Space of the file system that holds a path. */
export async function spaceOf(path: string): Promise<SpaceUse> {
  const info = await statfs(path);
  return {
    sizeBytes: info.blocks * info.bsize,
    usedBytes: (info.blocks - info.bfree) * info.bsize,
    freeBytes: info.bavail * info.bsize,
    inodes: info.files,
    inodesUsed: info.files - info.ffree,
  };
}

const magics = new Map([
  [0xef53, 'ext4'],
  [0x9123683e, 'btrfs'],
  [0x01021994, 'tmpfs'],
  [0x58465342, 'xfs'],
  [0x2fc12fc1, 'zfs'],
  [0x794c7630, 'overlay'],
  [0x6969, 'nfs'],
  [0x65735546, 'fuse'],
  [0x00c36400, 'ceph'],
  [0x73717368, 'squashfs'],
  [0x63677270, 'cgroup2'],
  [0x27e0eb, 'cgroup'],
  [0x9fa0, 'proc'],
  [0x62656572, 'sysfs'],
]);

/** The type of the file system that holds a path, as LXD names it; '0x…' if it has no name here. */
export async function filesystemType(path: string): Promise<string> {
  const { type } = await statfs(path);
  return magics.get(type) ?? `0x${type.toString(16)}`;
}

const mountFlags = (options: BindOptions): number =>
  (options.readonly ? MS_RDONLY : 0) | (options.nosuid ? MS_NOSUID : 0) | (options.nodev ? MS_NODEV : 0) | (options.noexec ? MS_NOEXEC : 0);

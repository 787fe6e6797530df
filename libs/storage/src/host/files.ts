import { chmod, lstat, mkdir, readdir, rename, rmdir } from 'node:fs/promises';
import { fault } from '#kit';
import { detach, findProgram, mountAt, run, spaceOf, unmount } from '#host-kit';
import { poolDirectories, type VolumeType } from '../model/index.js';
import type { PoolResources } from './driver.js';

/** Deadline of work on a whole tree: copying, deleting, unpacking. A day: it ends when the disk ends it. */
export const treeTimeoutMs = 24 * 3600 * 1000;

const isErrno = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;

export async function pathExists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return false;
    throw error;
  }
}

/** Names in a directory, sorted; none when it is not there. */
export async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Removes a directory if nothing is in it. */
export async function removeIfEmpty(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT') && !isErrno(error, 'ENOTEMPTY') && !isErrno(error, 'EEXIST')) throw error;
  }
}

/** Renamed already is success. @throws Fault conflict, with its sentence: both are there */
export async function renameOnce(from: string, to: string, conflict: string): Promise<void> {
  const there = await pathExists(to);
  if (there && !(await pathExists(from))) return;
  if (there) throw fault.conflict(conflict);
  await rename(from, to);
}

/** The directories of model/layout.ts below a mounted pool. */
export async function makePoolDirectories(path: string): Promise<void> {
  for (const name of poolDirectories) await mkdir(`${path}/${name}`, { recursive: true, mode: 0o711 });
}

/** An instance's volume lets nobody look in (the container's root comes by mount); custom volumes and images may be entered. */
export const setVolumeMode = (path: string, type: VolumeType): Promise<void> => chmod(path, type === 'custom' || type === 'image' ? 0o711 : 0o100);

/** Everything at and below a path, immutable files too; does not cross into other mounts. Nothing there is success. */
export async function removeTree(path: string): Promise<void> {
  if (!(await pathExists(path))) return;
  const remove = () => run('rm', ['-rf', '--one-file-system', '--', path], { timeoutMs: treeTimeoutMs });
  if ((await remove()).code === 0) return;
  await run('chattr', ['-R', '-f', '-ai', '--', path], { timeoutMs: treeTimeoutMs });
  const again = await remove();
  if (again.code !== 0) throw fault.internal('Failed to remove a directory tree', { detail: again.stderr.toString() });
}

export interface CopyOptions {
  /** What rsync.bwlimit says, in bytes a second. */
  bandwidthBytes?: number;
  signal?: AbortSignal;
}

const vanishedFiles = 24;

/**
 * Makes `to`, an existing directory, equal to `from`: owners by number, modes, times, hard links, xattrs, ACLs, holes. A fresh target is filled by cp, with
 * shared extents where the filesystem has them; otherwise, and when the source changes meanwhile (a running container), rsync does it. By contents:
 * rsync's usual comparison of size and second takes a file for unchanged that was written twice within one.
 * @throws Fault unavailable when the disk is full
 */
export async function copyTree(from: string, to: string, options: CopyOptions = {}): Promise<void> {
  const limits = { timeoutMs: treeTimeoutMs, signal: options.signal, outputMaxBytes: 16 * 1024 * 1024, diesWithUs: true };
  const fresh = (await namesIn(to)).length === 0;
  if (fresh && !options.bandwidthBytes) {
    const copy = ['-dR', '--preserve=mode,ownership,timestamps,links,xattr', '--reflink=auto', '--sparse=auto', '-T', '--', from, to];
    const result = await run('cp', copy, limits);
    if (result.code === 0) return;
    if (!findProgram('rsync')) throw copyFailed(result.stderr, await isFull(to));
  }
  const limit = options.bandwidthBytes ? [`--bwlimit=${Math.max(1, Math.ceil(options.bandwidthBytes / 1024))}`] : [];
  const result = await run(
    'rsync',
    ['-aHAX', '--checksum', '--sparse', '--devices', '--delete', '--numeric-ids', ...limit, `${from}/`, `${to}/`],
    limits,
  );
  if (result.code !== 0 && result.code !== vanishedFiles) throw copyFailed(result.stderr, await isFull(to));
}

const copyFailed = (stderr: Buffer, full: boolean): Error =>
  full
    ? fault.unavailable('No space left on the storage pool', { status: 500 })
    : fault.internal('Failed to copy the files of a volume', { detail: stderr.subarray(-2000).toString() });

async function isFull(path: string): Promise<boolean> {
  return (await spaceOf(path)).freeBytes < 1024 * 1024;
}

export async function filesystemResources(path: string): Promise<PoolResources> {
  const { usedBytes, sizeBytes, inodes, inodesUsed } = await spaceOf(path);
  return { space: { used: usedBytes, total: sizeBytes }, inodes: { used: inodesUsed, total: inodes } };
}

export const isMounted = (path: string): boolean => mountAt(path) !== undefined;

/** Takes away everything that is mounted at a path, lazily when it is busy. */
export async function unmountAll(path: string): Promise<void> {
  for (let tries = 0; tries < 20 && isMounted(path); tries++) {
    try {
      await unmount(path);
    } catch {
      detach(path);
    }
  }
}

import { lstat } from 'node:fs/promises';
import { fault } from '#kit';
import { run, runOk } from '#host-kit';

/** A subvolume's root has this inode number (BTRFS_FIRST_FREE_OBJECTID). */
const subvolumeInode = 256;

async function btrfs(args: readonly string[], failure: string): Promise<string> {
  return (await runOk('btrfs', args, { timeoutMs: 10 * 60_000, failure, outputMaxBytes: 64 * 1024 * 1024 })).toString();
}

export async function isSubvolume(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).ino === subvolumeInode;
  } catch {
    return false;
  }
}

export async function createSubvolume(path: string): Promise<void> {
  await btrfs(['subvolume', 'create', path], 'Failed to create a subvolume');
}

/** Paths, below `path`, of the subvolumes directly or indirectly inside it; parents before children. Walks nothing: asks the filesystem. */
export async function nestedSubvolumes(path: string): Promise<string[]> {
  const direct = await run('btrfs', ['subvolume', 'list', '-o', path], { timeoutMs: 60_000, outputMaxBytes: 64 * 1024 * 1024 });
  if (direct.code !== 0) throw fault.internal('Failed to list subvolumes', { detail: direct.stderr.toString() });
  const listed = direct.stdout.toString().split('\n').filter(Boolean);
  if (listed.length === 0) return [];
  // The paths listed are from the filesystem's top; what they have in common with ours is known once our own is.
  const own = (await btrfs(['subvolume', 'show', path], 'Failed to read a subvolume')).split('\n')[0]!.trim();
  const prefix = own === '/' ? '' : `${own}/`;
  const result: string[] = [];
  for (const line of listed) {
    const full = line.slice(line.indexOf(' path ') + ' path '.length);
    if (!full.startsWith(prefix)) continue;
    const relative = full.slice(prefix.length);
    result.push(relative, ...(await nestedSubvolumes(`${path}/${relative}`)).map((inner) => `${relative}/${inner}`));
  }
  return result;
}

export async function snapshotSubvolume(from: string, to: string, readOnly = false): Promise<void> {
  await btrfs(['subvolume', 'snapshot', ...(readOnly ? ['-r'] : []), from, to], 'Failed to snapshot a subvolume');
}

/** Fails while other subvolumes are inside. */
export async function deleteOneSubvolume(path: string): Promise<boolean> {
  return (await run('btrfs', ['subvolume', 'delete', path], { timeoutMs: 10 * 60_000 })).code === 0;
}

export async function isReadOnly(path: string): Promise<boolean> {
  return (await btrfs(['property', 'get', '-ts', path, 'ro'], 'Failed to read a property')).trim() === 'ro=true';
}

export async function setReadOnly(path: string, readOnly: boolean): Promise<void> {
  await btrfs(['property', 'set', '-f', '-ts', path, 'ro', String(readOnly)], 'Failed to set a property');
}

export interface QuotaGroup {
  id: string;
  referencedBytes: number;
  /** 0: none. */
  limitBytes: number;
}

/** 'off' when the filesystem keeps no quotas, 'none' when this subvolume has no group. */
export async function quotaGroup(path: string): Promise<QuotaGroup | 'off' | 'none'> {
  const result = await run('btrfs', ['qgroup', 'show', '-r', '-f', '--raw', path]);
  if (result.code !== 0) return 'off';
  for (const line of result.stdout.toString().split('\n')) {
    const match = /^\s*(\d+\/\d+)\s+(\d+)\s+(\d+)\s+(\S+)/.exec(line);
    if (match) return { id: match[1]!, referencedBytes: Number(match[2]), limitBytes: match[4] === 'none' ? 0 : Number(match[4]) };
  }
  return 'none';
}

export async function enableQuotas(poolPath: string): Promise<void> {
  await btrfs(['quota', 'enable', poolPath], 'Failed to enable quotas');
}

/** With quotas on late, groups count only after a scan. */
export async function rescanQuotas(poolPath: string): Promise<void> {
  await run('btrfs', ['quota', 'rescan', '-w', poolPath], { timeoutMs: 10 * 60_000 });
}

export async function createQuotaGroup(path: string): Promise<void> {
  const id = (await btrfs(['inspect-internal', 'rootid', path], 'Failed to read a subvolume')).trim();
  await btrfs(['qgroup', 'create', `0/${id}`, path], 'Failed to create a quota group');
}

export async function limitQuotaGroup(path: string, sizeBytes: number): Promise<void> {
  await btrfs(['qgroup', 'limit', sizeBytes > 0 ? String(sizeBytes) : 'none', path], 'Failed to set a quota');
}

export async function destroyQuotaGroup(id: string, path: string): Promise<void> {
  await run('btrfs', ['qgroup', 'destroy', id, path]);
}

/** Grows the mounted filesystem to its device. */
export async function growFilesystem(path: string): Promise<void> {
  await btrfs(['filesystem', 'resize', 'max', path], 'Failed to grow the filesystem');
}

export async function formatDevice(device: string, label: string): Promise<void> {
  await runOk('mkfs.btrfs', ['-f', '-q', '-L', label.slice(0, 250), device], {
    timeoutMs: 10 * 60_000,
    failure: 'Failed to format the storage device',
  });
}

export async function filesystemUuid(device: string): Promise<string> {
  return (await runOk('blkid', ['-s', 'UUID', '-o', 'value', device], { failure: "Failed to read the filesystem's UUID" })).toString().trim();
}

import { chmod, mkdir, open, realpath, rm, rmdir, stat, statfs, truncate } from 'node:fs/promises';
import { dirname, normalize } from 'node:path';
import { attachLoop, bindMount, detachLoop, filesystemType, listLoops, mountAt, mountFilesystem, refreshLoop } from '#host-kit';
import { fault, parseSize } from '#kit';
import { loopFilePath } from '../../model/index.js';
import type { PoolPlace } from '../driver.js';
import { namesIn, pathExists } from '../files.js';
import * as command from './btrfs.command.js';

/** What a pool lies on: a loop file of ours, a block device (by path or UUID), or a subvolume of a btrfs that is there already. */
export type SourceKind = 'loop' | 'device' | 'uuid' | 'subvolume';

const gib = 1024 ** 3;

export async function sourceKind(place: PoolPlace): Promise<SourceKind> {
  const source = place.config['source'] ?? '';
  if (source === '' || source === loopFilePath(place.stateDir, place.name)) return 'loop';
  if (!source.startsWith('/')) return 'uuid';
  return (await isBlockDevice(source)) ? 'device' : 'subvolume';
}

async function isBlockDevice(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isBlockDevice();
  } catch {
    return false;
  }
}

/** A fifth of the disk that holds the state directory, at least 5 and at most 30 GiB. */
export async function defaultLoopBytes(stateDir: string): Promise<number> {
  const { blocks, bsize } = await statfs(stateDir);
  return Math.min(30, Math.max(5, Math.floor((blocks * bsize) / gib / 5))) * gib;
}

/** Makes the source and gives the config as it is to be recorded. What it made is gone when it throws. */
export async function makeSource(place: PoolPlace): Promise<Record<string, string>> {
  const initial = place.config['source'] ?? '';
  const recorded = { ...place.config, 'volatile.initial_source': initial };
  switch (await sourceKind(place)) {
    case 'loop':
      return { ...recorded, ...(await makeLoop(place)) };
    case 'device': {
      await command.formatDevice(initial, place.name);
      const uuid = await command.filesystemUuid(initial);
      // The device's name may change with the next boot; its UUID does not, where udev shows it.
      return { ...withoutSize(recorded), source: (await pathExists(`/dev/disk/by-uuid/${uuid}`)) ? uuid : initial };
    }
    case 'subvolume':
      await makeSubvolume(place, normalize(initial).replace(/(.)\/$/, '$1'));
      return { ...withoutSize(recorded), source: normalize(initial).replace(/(.)\/$/, '$1') };
    case 'uuid':
      throw fault.invalid('Invalid "source" property');
  }
}

function withoutSize(config: Record<string, string>): Record<string, string> {
  const { size: _, ...rest } = config;
  return rest;
}

async function makeLoop(place: PoolPlace): Promise<Record<string, string>> {
  const file = loopFilePath(place.stateDir, place.name);
  const size = place.config['size'] || `${(await defaultLoopBytes(place.stateDir)) / gib}GiB`;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  let handle;
  try {
    handle = await open(file, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw fault.conflict(`The loop file of storage pool "${place.name}" already exists`);
    throw error;
  }
  try {
    await handle.truncate(parseSize(size));
    await handle.close();
    await chmod(file, 0o600);
    await command.formatDevice(file, place.name);
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
  return { source: file, size };
}

async function makeSubvolume(place: PoolPlace, source: string): Promise<void> {
  if (await command.isSubvolume(source)) {
    if ((await filesystemType(source)) !== 'btrfs') throw fault.invalid('Provided path does not reside on a btrfs filesystem');
    if ((await command.nestedSubvolumes(source)).length > 0 || (await namesIn(source)).length > 0)
      throw fault.invalid('Requested btrfs subvolume exists but is not empty');
    return;
  }
  const parent = dirname(source);
  if (!(await pathExists(parent)) || (await filesystemType(parent)) !== 'btrfs')
    throw fault.invalid('Provided path does not reside on a btrfs filesystem');
  const inside = `${await realpath(parent)}/`.startsWith(`${await realpath(place.stateDir)}/`);
  if (inside && source !== place.path) throw fault.invalid(`Only allowed source path under "${place.stateDir}" is "${place.path}"`);
  if (await pathExists(source)) {
    if ((await namesIn(source)).length > 0) throw fault.invalid(`Source path '${source}' isn't empty`);
    await rmdir(source);
  }
  await command.createSubvolume(source);
}

/** Mounts the source at the pool's mount point. */
export async function mountSource(place: PoolPlace): Promise<void> {
  const options = [mountOptionsOf(place.config)];
  const source = place.config['source'] ?? '';
  switch (await sourceKind(place)) {
    case 'loop': {
      const file = loopFilePath(place.stateDir, place.name);
      if (!(await pathExists(file))) throw fault.unavailable(`The loop file of storage pool "${place.name}" is missing`);
      const device = await attachLoop(file, { directIo: true });
      try {
        await mountFilesystem(device, place.path, { type: 'btrfs', options });
      } finally {
        await detachLoop(device);
      }
      return;
    }
    case 'device':
      return mountFilesystem(source, place.path, { type: 'btrfs', options });
    case 'uuid':
      return mountFilesystem(`UUID=${source}`, place.path, { type: 'btrfs', options });
    case 'subvolume':
      if (source === place.path) return;
      if (!(await command.isSubvolume(source))) throw fault.unavailable(`Source path '${source}' isn't a btrfs subvolume`);
      return bindMount(source, place.path);
  }
}

export const mountOptionsOf = (config: Readonly<Record<string, string>>): string => config['btrfs.mount_options'] || 'user_subvol_rm_allowed';

export async function remount(place: PoolPlace, options: string): Promise<void> {
  const mount = mountAt(place.path);
  if (mount) await mountFilesystem(mount.source, place.path, { options: ['remount', options] });
}

/** Grows the loop file under a mounted pool. @throws Fault invalid for a smaller size */
export async function growLoop(place: PoolPlace, size: string): Promise<void> {
  if ((await sourceKind(place)) !== 'loop') throw fault.invalid('Only pools on a loop file of their own can be resized');
  const file = loopFilePath(place.stateDir, place.name);
  const wanted = parseSize(size);
  if (wanted < (await stat(file)).size) throw fault.invalid('Pools cannot be shrunk');
  await truncate(file, wanted);
  for (const { device } of await listLoops(file)) await refreshLoop(device);
  await command.growFilesystem(place.path);
}

/** What makeSource made. Safe to repeat. */
export async function removeSource(place: PoolPlace): Promise<void> {
  const kind = await sourceKind(place);
  if (kind === 'loop') await rm(loopFilePath(place.stateDir, place.name), { force: true });
  if (kind === 'subvolume' && (await command.isSubvolume(place.config['source']!))) await command.deleteOneSubvolume(place.config['source']!);
}

import { mkdir, realpath, rename } from 'node:fs/promises';
import { normalize } from 'node:path';
import { bindMount } from '#host-kit';
import { fault, faultPoint, parseSize } from '#kit';
import { type VolumeType, driverDescription, liveDirectory, snapshotsDirectory, volumeTypes } from '../../model/index.js';
import type { DiskVolume, DriverFactory, PoolPlace, PoolResources, Snapshots, StorageDriver } from '../driver.js';
import {
  copyTree,
  filesystemResources,
  isMounted,
  makePoolDirectories,
  namesIn,
  pathExists,
  removeIfEmpty,
  removeTree,
  renameOnce,
  setVolumeMode,
  unmountAll,
} from '../files.js';

/**
 * Volumes are plain directories, snapshots full copies. Works on any filesystem; what that lacks (clones, quotas), the pool lacks. A source elsewhere is
 * bound to the pool's mount point.
 */
export class DirDriver implements StorageDriver {
  readonly capabilities = driverDescription('dir').capabilities;

  constructor(private readonly place: PoolPlace) {}

  async createPool(): Promise<Record<string, string>> {
    const initial = this.place.config['source'] ?? '';
    const source = initial === '' ? this.place.path : normalize(initial).replace(/(.)\/$/, '$1');
    if (!source.startsWith('/')) throw fault.invalid(`Source path '${source}' must be absolute`);
    if (!(await pathExists(source))) throw fault.invalid(`Source path '${source}' doesn't exist`);
    const inside = `${await realpath(source)}/`.startsWith(`${await realpath(this.place.stateDir)}/`);
    if (inside && source !== this.place.path) throw fault.invalid(`Source path '${source}' is within the state directory`);
    if ((await namesIn(source)).length > 0) throw fault.invalid(`Source path '${source}' isn't empty`);
    return { ...this.place.config, source, 'volatile.initial_source': initial };
  }

  async removePool(): Promise<void> {
    for (const name of await namesIn(this.place.path)) await removeTree(`${this.place.path}/${name}`);
    await this.unmountPool();
  }

  async mountPool(): Promise<void> {
    const source = this.place.config['source'] || this.place.path;
    if (source !== this.place.path && !isMounted(this.place.path)) {
      if (!(await pathExists(source))) throw fault.unavailable(`Source path '${source}' doesn't exist`);
      bindMount(source, this.place.path);
    }
    await makePoolDirectories(this.place.path);
  }

  async unmountPool(): Promise<void> {
    await unmountAll(this.place.path);
  }

  async updatePool(): Promise<void> {}

  resources(): Promise<PoolResources> {
    return filesystemResources(this.place.path);
  }

  async create(volume: DiskVolume): Promise<void> {
    const path = this.path(volume);
    try {
      await mkdir(path, { mode: 0o711 });
      faultPoint('volume made');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw fault.conflict(`Volume "${volume.name}" already exists on storage`);
      throw error;
    }
    await setVolumeMode(path, volume.type);
  }

  async remove(volume: DiskVolume): Promise<void> {
    await removeTree(this.#snapshotsOf(volume));
    await removeTree(this.path(volume));
  }

  async rename(volume: DiskVolume, newName: string): Promise<void> {
    const target = { ...volume, name: newName };
    await renameOnce(this.path(volume), this.path(target), `Volume "${newName}" already exists on storage`);
    faultPoint('volume renamed');
    if (await pathExists(this.#snapshotsOf(volume))) await rename(this.#snapshotsOf(volume), this.#snapshotsOf(target));
  }

  exists(volume: DiskVolume): Promise<boolean> {
    return pathExists(this.path(volume));
  }

  async list(): Promise<DiskVolume[]> {
    const named = async (type: VolumeType): Promise<DiskVolume[]> =>
      (await namesIn(`${this.place.path}/${liveDirectory(type)}`)).map((name) => ({ type, name, contentType: 'filesystem' }));
    return (await Promise.all(volumeTypes.map(named))).flat();
  }

  async clone(from: { volume: DiskVolume; snapshot?: string }, to: DiskVolume): Promise<void> {
    const source = from.snapshot === undefined ? this.path(from.volume) : this.snapshots.path(from.volume, from.snapshot);
    await this.create(to);
    try {
      await copyTree(source, this.path(to), { bandwidthBytes: parseSize(this.place.config['rsync.bwlimit'] ?? '') });
      await setVolumeMode(this.path(to), to.type);
    } catch (error) {
      await removeTree(this.path(to));
      throw error;
    }
  }

  async seal(): Promise<void> {}

  path(volume: DiskVolume): string {
    return `${this.place.path}/${liveDirectory(volume.type)}/${volume.name}`;
  }

  async mount(volume: DiskVolume): Promise<void> {
    if (!(await this.exists(volume))) throw fault.notFound(`Volume "${volume.name}" does not exist on storage`);
  }

  async unmount(): Promise<void> {}

  readonly snapshots: Snapshots = {
    create: (volume, snapshot) => this.#copyToSnapshot(this.path(volume), volume, snapshot),
    remove: async (volume, snapshot) => {
      await removeTree(this.snapshots.path(volume, snapshot));
      await removeIfEmpty(this.#snapshotsOf(volume));
    },
    rename: async (volume, snapshot, newName) => {
      const target = this.snapshots.path(volume, newName);
      if (await pathExists(target)) throw fault.conflict(`Snapshot "${newName}" of volume "${volume.name}" already exists on storage`);
      await rename(this.snapshots.path(volume, snapshot), target);
      faultPoint('snapshot renamed');
    },
    restore: async (volume, snapshot) => {
      await copyTree(this.snapshots.path(volume, snapshot), this.path(volume));
      await setVolumeMode(this.path(volume), volume.type);
    },
    copy: (from, snapshot, to) => this.#copyToSnapshot(this.snapshots.path(from, snapshot), to, snapshot),
    list: (volume) => namesIn(this.#snapshotsOf(volume)),
    path: (volume, snapshot) => `${this.#snapshotsOf(volume)}/${snapshot}`,
  };

  #snapshotsOf(volume: DiskVolume): string {
    return `${this.place.path}/${snapshotsDirectory(volume.type)}/${volume.name}`;
  }

  async #copyToSnapshot(source: string, volume: DiskVolume, snapshot: string): Promise<void> {
    const target = this.snapshots.path(volume, snapshot);
    if (await pathExists(target)) throw fault.conflict(`Snapshot "${snapshot}" of volume "${volume.name}" already exists on storage`);
    await mkdir(target, { recursive: true, mode: 0o711 });
    faultPoint('snapshot made');
    try {
      await copyTree(source, target);
    } catch (error) {
      await this.snapshots.remove(volume, snapshot);
      throw error;
    }
  }
}

export const dirFactory: DriverFactory = {
  open: (place) => new DirDriver(place),
  probe: async () => ({ state: 'ready', version: '1' }),
};

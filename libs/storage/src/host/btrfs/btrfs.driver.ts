import { mkdir, rename } from 'node:fs/promises';
import { fault, faultPoint } from '#kit';
import { type VolumeType, driverDescription, liveDirectory, snapshotsDirectory, volumeTypes } from '../../model/index.js';
import type { DiskVolume, DriverFactory, OptimizedBackups, PoolPlace, PoolResources, Quotas, Snapshots, StorageDriver } from '../driver.js';
import {
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
import * as command from './btrfs.command.js';
import { probeBtrfs } from './btrfs.probe.js';
import { growLoop, makeSource, mountOptionsOf, mountSource, remount, removeSource } from './btrfs.source.js';
import { openStreams, receiveStreams, sendStreams, type StreamPaths } from './streams.js';
import { deleteDeep, snapshotDeep } from './subvolumes.js';

/** Volumes are subvolumes: clones and snapshots are made at once and share their data; limits are quota groups. */
export class BtrfsDriver implements StorageDriver {
  readonly capabilities = driverDescription('btrfs').capabilities;
  /** Known once mounted: asking each time would double the time of a deletion. */
  #quotas = false;

  constructor(private readonly place: PoolPlace) {}

  createPool(): Promise<Record<string, string>> {
    return makeSource(this.place);
  }

  async removePool(): Promise<void> {
    if (isMounted(this.place.path) || (await command.isSubvolume(this.place.path))) {
      for (const inner of (await command.nestedSubvolumes(this.place.path)).reverse()) await this.#deleteSubvolume(`${this.place.path}/${inner}`);
      for (const name of await namesIn(this.place.path)) await removeTree(`${this.place.path}/${name}`);
    }
    await this.unmountPool();
    await removeSource(this.place);
  }

  async mountPool(): Promise<void> {
    if (!isMounted(this.place.path)) await mountSource(this.place);
    await makePoolDirectories(this.place.path);
    this.#quotas = (await command.quotaGroup(this.place.path)) !== 'off';
  }

  unmountPool(): Promise<void> {
    return unmountAll(this.place.path);
  }

  async updatePool(after: Record<string, string>): Promise<void> {
    if (mountOptionsOf(after) !== mountOptionsOf(this.place.config)) await remount(this.place, mountOptionsOf(after));
    const size = after['size'] ?? '';
    if (size !== (this.place.config['size'] ?? '') && size !== '') await growLoop(this.place, size);
  }

  async resources(): Promise<PoolResources> {
    // btrfs has no fixed number of inodes and says 0 of 0.
    return filesystemResources(this.place.path);
  }

  async create(volume: DiskVolume): Promise<void> {
    const path = this.path(volume);
    if (await pathExists(path)) throw fault.conflict(`Volume "${volume.name}" already exists on storage`);
    await command.createSubvolume(path);
    await setVolumeMode(path, volume.type);
  }

  async remove(volume: DiskVolume): Promise<void> {
    for (const snapshot of await this.snapshots.list(volume)) await this.snapshots.remove(volume, snapshot);
    await this.#delete(this.path(volume));
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
      (await namesIn(`${this.place.path}/${liveDirectory(type)}`))
        .filter((name) => !/^\.(restoring |send-|receive-)/.test(name))
        .map((name) => ({ type, name, contentType: 'filesystem' }));
    return (await Promise.all(volumeTypes.map(named))).flat();
  }

  async clone(from: { volume: DiskVolume; snapshot?: string }, to: DiskVolume): Promise<void> {
    const source = from.snapshot === undefined ? this.path(from.volume) : this.snapshots.path(from.volume, from.snapshot);
    const target = this.path(to);
    if (await pathExists(target)) throw fault.conflict(`Volume "${to.name}" already exists on storage`);
    await this.#whole(target, async () => {
      // What we unpacked ourselves has no subvolumes inside: the launch of an instance need not ask.
      if (from.volume.type === 'image') await command.snapshotSubvolume(source, target);
      else await snapshotDeep(source, target, { readOnly: false });
      await setVolumeMode(target, to.type);
    });
  }

  seal(volume: DiskVolume): Promise<void> {
    return command.setReadOnly(this.path(volume), true);
  }

  path(volume: DiskVolume): string {
    return `${this.place.path}/${liveDirectory(volume.type)}/${volume.name}`;
  }

  async mount(volume: DiskVolume): Promise<void> {
    if (!(await this.exists(volume))) throw fault.notFound(`Volume "${volume.name}" does not exist on storage`);
  }

  async unmount(): Promise<void> {}

  readonly snapshots: Snapshots = {
    create: (volume, snapshot) => this.#takeSnapshot(this.path(volume), volume, snapshot),
    remove: async (volume, snapshot) => {
      await this.#delete(this.snapshots.path(volume, snapshot));
      await removeIfEmpty(this.#snapshotsOf(volume));
    },
    rename: async (volume, snapshot, newName) => {
      const target = this.snapshots.path(volume, newName);
      if (await pathExists(target)) throw fault.conflict(`Snapshot "${newName}" of volume "${volume.name}" already exists on storage`);
      await rename(this.snapshots.path(volume, snapshot), target);
      faultPoint('snapshot renamed');
    },
    restore: async (volume, snapshot) => {
      const source = this.snapshots.path(volume, snapshot);
      if (!(await command.isSubvolume(source))) throw fault.notFound(`Snapshot "${snapshot}" of volume "${volume.name}" does not exist on storage`);
      const path = this.path(volume);
      // A blank keeps this name apart from every volume's. A second try after a crash finds the old contents aside already.
      const aside = `${this.place.path}/${liveDirectory(volume.type)}/.restoring ${volume.name}`;
      if (!(await pathExists(aside))) await rename(path, aside);
      faultPoint('volume aside');
      const limit = await limitOf(aside);
      await this.#deleteSubvolume(path);
      try {
        await snapshotDeep(source, path, { readOnly: false });
        await setVolumeMode(path, volume.type);
      } catch (error) {
        await this.#deleteSubvolume(path);
        await rename(aside, path);
        throw error;
      }
      // Before the old contents go: a second try learns the limit of them.
      if (limit > 0) await command.limitQuotaGroup(path, limit);
      await this.#deleteSubvolume(aside);
    },
    copy: (from, snapshot, to) => this.#takeSnapshot(this.snapshots.path(from, snapshot), to, snapshot),
    list: (volume) => namesIn(this.#snapshotsOf(volume)),
    path: (volume, snapshot) => `${this.#snapshotsOf(volume)}/${snapshot}`,
  };

  readonly quotas: Quotas = {
    set: async (volume, sizeBytes) => {
      const path = this.path(volume);
      let group = await command.quotaGroup(path);
      if (group === 'off') {
        if (sizeBytes <= 0) return;
        await command.enableQuotas(this.place.path);
        this.#quotas = true;
        await command.rescanQuotas(this.place.path);
        group = await command.quotaGroup(path);
      }
      if (group === 'none') {
        if (sizeBytes <= 0) return;
        await command.createQuotaGroup(path);
      }
      await command.limitQuotaGroup(path, sizeBytes);
    },
    usage: async (volume) => {
      const group = await command.quotaGroup(this.path(volume));
      return typeof group === 'object' ? group.referencedBytes : undefined;
    },
  };

  readonly optimized: OptimizedBackups = {
    send: (volume, snapshots, directory, signal) => sendStreams(this.#streamPaths(volume), snapshots, directory, this.place.log, signal),
    source: (volume, snapshots, of) => openStreams(this.#streamPaths(volume), snapshots, this.place.log, of),
    receive: async (volume, source, signal) => {
      const path = this.path(volume);
      if (await pathExists(path)) throw fault.conflict(`Volume "${volume.name}" already exists on storage`);
      if (source.snapshots.length > 0) await mkdir(this.#snapshotsOf(volume), { recursive: true, mode: 0o711 });
      await receiveStreams(this.#streamPaths(volume), source, this.place.log, signal);
      await setVolumeMode(path, volume.type);
    },
  };

  #streamPaths(volume: DiskVolume): StreamPaths {
    return {
      volume: this.path(volume),
      snapshot: (name) => this.snapshots.path(volume, name),
      temporary: `${this.place.path}/${liveDirectory(volume.type)}`,
      remove: (path) => this.#deleteSubvolume(path),
    };
  }

  #snapshotsOf(volume: DiskVolume): string {
    return `${this.place.path}/${snapshotsDirectory(volume.type)}/${volume.name}`;
  }

  async #takeSnapshot(source: string, volume: DiskVolume, snapshot: string): Promise<void> {
    const target = this.snapshots.path(volume, snapshot);
    if (await pathExists(target)) throw fault.conflict(`Snapshot "${snapshot}" of volume "${volume.name}" already exists on storage`);
    await mkdir(this.#snapshotsOf(volume), { recursive: true, mode: 0o711 });
    await this.#whole(target, () => snapshotDeep(source, target, { readOnly: true }));
  }

  /** Work that makes a subvolume: all of it, or nothing is left. */
  async #whole(target: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.#deleteSubvolume(target);
      throw error;
    }
  }

  #deleteSubvolume(path: string): Promise<void> {
    return deleteDeep(path, { quotas: this.#quotas });
  }

  async #delete(path: string): Promise<void> {
    await this.#deleteSubvolume(path);
    // A plain directory can lie here after a restore by hand.
    await removeTree(path);
  }
}

async function limitOf(path: string): Promise<number> {
  const group = await command.quotaGroup(path);
  return typeof group === 'object' ? group.limitBytes : 0;
}

export const btrfsFactory: DriverFactory = {
  open: (place) => new BtrfsDriver(place),
  probe: probeBtrfs,
};

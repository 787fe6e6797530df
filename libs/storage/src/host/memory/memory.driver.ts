import { fault } from '#kit';
import { driverDescription, liveDirectory, snapshotsDirectory } from '../../model/index.js';
import type { DiskVolume, DriverFactory, PoolPlace, PoolResources, Quotas, Snapshots, StorageDriver } from '../driver.js';

type Files = Map<string, string>;

/**
 * Pools that live in this process: volumes are maps of file names to texts. For the simulator and for tests of what stands above drivers; it keeps the
 * promises of the real ones. Paths are names only: tests reach the files by `filesAt`.
 */
export class MemoryDriver implements StorageDriver {
  readonly capabilities = driverDescription('memory').capabilities;
  readonly #volumes = new Map<string, { volume: DiskVolume; files: Files; sealed: boolean; quota: number }>();
  readonly #snapshots = new Map<string, Map<string, Files>>();

  constructor(private readonly place: PoolPlace) {}

  async createPool(): Promise<Record<string, string>> {
    return {
      ...this.place.config,
      source: this.place.config['source'] || this.place.path,
      'volatile.initial_source': this.place.config['source'] ?? '',
    };
  }

  async removePool(): Promise<void> {
    this.#volumes.clear();
    this.#snapshots.clear();
  }

  async mountPool(): Promise<void> {}
  async unmountPool(): Promise<void> {}
  async updatePool(): Promise<void> {}

  async resources(): Promise<PoolResources> {
    const used = [...this.#volumes.values()].reduce((sum, { files }) => sum + sizeOf(files), 0);
    return { space: { used, total: 1024 ** 3 }, inodes: { used: this.#volumes.size, total: 1_000_000 } };
  }

  async create(volume: DiskVolume): Promise<void> {
    this.#insert(volume, new Map());
  }

  async remove(volume: DiskVolume): Promise<void> {
    this.#volumes.delete(this.path(volume));
    this.#snapshots.delete(this.path(volume));
  }

  async rename(volume: DiskVolume, newName: string): Promise<void> {
    const renamed = { ...volume, name: newName };
    if (!this.#volumes.has(this.path(volume)) && this.#volumes.has(this.path(renamed))) return;
    const found = this.#existing(volume);
    this.#insert(renamed, found.files);
    this.#volumes.delete(this.path(volume));
    const snapshots = this.#snapshots.get(this.path(volume));
    if (snapshots) this.#snapshots.set(this.path(renamed), snapshots);
    this.#snapshots.delete(this.path(volume));
  }

  async exists(volume: DiskVolume): Promise<boolean> {
    return this.#volumes.has(this.path(volume));
  }

  async list(): Promise<DiskVolume[]> {
    return [...this.#volumes.values()].map(({ volume }) => volume);
  }

  async clone(from: { volume: DiskVolume; snapshot?: string }, to: DiskVolume): Promise<void> {
    const files = from.snapshot === undefined ? this.#existing(from.volume).files : this.#snapshot(from.volume, from.snapshot);
    this.#insert(to, new Map(files));
  }

  async seal(volume: DiskVolume): Promise<void> {
    this.#existing(volume).sealed = true;
  }

  path(volume: DiskVolume): string {
    return `${this.place.path}/${liveDirectory(volume.type)}/${volume.name}`;
  }

  async mount(volume: DiskVolume): Promise<void> {
    this.#existing(volume);
  }

  async unmount(): Promise<void> {}

  readonly snapshots: Snapshots = {
    create: async (volume, snapshot) => this.#addSnapshot(volume, snapshot, new Map(this.#existing(volume).files)),
    remove: async (volume, snapshot) => void this.#snapshots.get(this.path(volume))?.delete(snapshot),
    rename: async (volume, snapshot, newName) => {
      this.#addSnapshot(volume, newName, this.#snapshot(volume, snapshot));
      this.#snapshots.get(this.path(volume))!.delete(snapshot);
    },
    restore: async (volume, snapshot) => {
      this.#existing(volume).files = new Map(this.#snapshot(volume, snapshot));
    },
    copy: async (from, snapshot, to) => this.#addSnapshot(to, snapshot, new Map(this.#snapshot(from, snapshot))),
    list: async (volume) => [...(this.#snapshots.get(this.path(volume))?.keys() ?? [])].sort(),
    path: (volume, snapshot) => `${this.place.path}/${snapshotsDirectory(volume.type)}/${volume.name}/${snapshot}`,
  };

  readonly quotas: Quotas = {
    set: async (volume, sizeBytes) => {
      this.#existing(volume).quota = sizeBytes;
    },
    usage: async (volume) => sizeOf(this.#existing(volume).files),
  };

  /** The files at a path that this driver gave: a volume's or, not to be written, a snapshot's. */
  filesAt(path: string): Files {
    const live = this.#volumes.get(path);
    if (live) return live.sealed ? new Map(live.files) : live.files;
    for (const [volumePath, snapshots] of this.#snapshots) {
      for (const [name, files] of snapshots) {
        if (path === this.snapshots.path(this.#volumes.get(volumePath)!.volume, name)) return files;
      }
    }
    throw fault.notFound(`Nothing at ${path}`);
  }

  #insert(volume: DiskVolume, files: Files): void {
    if (this.#volumes.has(this.path(volume))) throw fault.conflict(`Volume "${volume.name}" already exists on storage`);
    this.#volumes.set(this.path(volume), { volume, files, sealed: false, quota: 0 });
  }

  #existing(volume: DiskVolume): { files: Files; sealed: boolean; quota: number } {
    const found = this.#volumes.get(this.path(volume));
    if (!found) throw fault.notFound(`Volume "${volume.name}" does not exist on storage`);
    return found;
  }

  #snapshot(volume: DiskVolume, snapshot: string): Files {
    const files = this.#snapshots.get(this.path(volume))?.get(snapshot);
    if (!files) throw fault.notFound(`Snapshot "${snapshot}" of volume "${volume.name}" does not exist on storage`);
    return files;
  }

  #addSnapshot(volume: DiskVolume, snapshot: string, files: Files): void {
    this.#existing(volume);
    const snapshots = this.#snapshots.get(this.path(volume)) ?? new Map<string, Files>();
    if (snapshots.has(snapshot)) throw fault.conflict(`Snapshot "${snapshot}" of volume "${volume.name}" already exists on storage`);
    this.#snapshots.set(this.path(volume), snapshots.set(snapshot, files));
  }
}

const sizeOf = (files: Files): number => [...files.values()].reduce((sum, text) => sum + text.length, 0);

export const memoryFactory: DriverFactory = {
  open: (place) => new MemoryDriver(place),
  probe: async () => ({ state: 'ready', version: '1' }),
};

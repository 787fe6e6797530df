import type { Readable } from 'node:stream';
import type { Logger } from '#kit';
import type { ContentType, DriverCapabilities, VolumeType } from '../model/index.js';

/** A volume as a driver sees it: inside one pool, under the name that it has there (`project_name`). */
export interface DiskVolume {
  readonly type: VolumeType;
  readonly name: string;
  readonly contentType: ContentType;
}

/** Where a pool is and what it was told. The config changes under an open driver when the pool is updated. */
export interface PoolPlace {
  readonly name: string;
  /** STATE/storage-pools/NAME: everything of the pool is seen below it while it is mounted. */
  readonly path: string;
  readonly stateDir: string;
  /** Global keys and this member's, merged. */
  config: Readonly<Record<string, string>>;
  readonly log: Logger;
}

export interface PoolResources {
  space: { used: number; total: number };
  inodes: { used: number; total: number };
}

/** Snapshots, read-only, kept beside the volume. */
export interface Snapshots {
  /** Of the volume as it is. A half-made one is gone when this throws. @throws Fault conflict if it exists */
  create(volume: DiskVolume, snapshot: string): Promise<void>;
  /** Nothing there is success. */
  remove(volume: DiskVolume, snapshot: string): Promise<void>;
  rename(volume: DiskVolume, snapshot: string, newName: string): Promise<void>;
  /** Makes the volume what it was. Interrupted, it may be repeated; until then the volume is not to be used. */
  restore(volume: DiskVolume, snapshot: string): Promise<void>;
  /** A copy of a snapshot as a snapshot of another volume of the pool. */
  copy(from: DiskVolume, snapshot: string, to: DiskVolume): Promise<void>;
  /** In order of their names. */
  list(volume: DiskVolume): Promise<string[]>;
  path(volume: DiskVolume, snapshot: string): string;
}

/** Limits on what a volume may hold. */
export interface Quotas {
  /** Bytes; 0 takes the limit away. */
  set(volume: DiskVolume, sizeBytes: number): Promise<void>;
  /** Bytes used; undefined while nothing counts them. */
  usage(volume: DiskVolume): Promise<number | undefined>;
}

/** Which stream of an optimized backup: of the volume or a snapshot of it, and of which part (a driver's own name for it; '' is the whole). */
export interface OptimizedPlace {
  snapshot?: string;
  subvolume: string;
}

export interface OptimizedFiles {
  headerPath: string;
  streams: (OptimizedPlace & { path: string })[];
}

/** What an optimized backup consists of: its header, and each stream by its place. */
export interface OptimizedSource {
  snapshots: readonly string[];
  /** Text of the header; absent in old backups. */
  header?: string;
  open(place: OptimizedPlace, into: (stream: Readable) => Promise<void>): Promise<void>;
}

/** Volumes in the driver's own format, which LXD's driver of the same name reads and writes too. */
export interface OptimizedBackups {
  /** The snapshots, oldest first, and the volume as it is now, into files of `directory`. */
  send(volume: DiskVolume, snapshots: readonly string[], directory: string, signal?: AbortSignal): Promise<OptimizedFiles>;
  /** The same without files, for another pool of this driver; with `of` that snapshot as if it were the volume. To be disposed of. */
  source(volume: DiskVolume, snapshots: readonly string[], of?: string): Promise<OptimizedSource & AsyncDisposable>;
  /** A new volume with its snapshots; a half-made one is gone when this throws. @throws Fault invalid, conflict if it exists */
  receive(volume: DiskVolume, source: OptimizedSource, signal?: AbortSignal): Promise<void>;
}

/**
 * One storage driver on one pool. The caller holds a lock on the volume it names; nothing here waits for another volume. Paths inside a pool are those
 * of model/layout.ts for every driver.
 */
export interface StorageDriver {
  readonly capabilities: DriverCapabilities;

  /**
   * Makes the pool from its config and gives the config as it is to be recorded (source, size, volatile.initial_source). The mount point exists and is
   * empty. Cleans up after itself when it fails. @throws Fault invalid for a source that cannot be
   */
  createPool(): Promise<Record<string, string>>;
  /** Removes every volume and all that createPool made. Safe to repeat; a pool that is gone is success. */
  removePool(): Promise<void>;
  /** Safe to repeat: a mounted pool stays as it is. Makes the directories that are missing. @throws Fault unavailable */
  mountPool(): Promise<void>;
  unmountPool(): Promise<void>;
  /** Applies keys that may change while it is in use. */
  updatePool(after: Record<string, string>): Promise<void>;
  resources(): Promise<PoolResources>;

  /** An empty volume. @throws Fault conflict if it exists */
  create(volume: DiskVolume): Promise<void>;
  /** With its snapshots. Nothing there is success. */
  remove(volume: DiskVolume): Promise<void>;
  /** With its snapshots. Renamed already, wholly or in part, is no error: the rest follows. @throws Fault conflict if both names exist */
  rename(volume: DiskVolume, newName: string): Promise<void>;
  exists(volume: DiskVolume): Promise<boolean>;
  list(): Promise<DiskVolume[]>;
  /** A new writable volume with the contents of another of this pool, or of one of its snapshots; a half-made one is gone when this throws. */
  clone(from: { volume: DiskVolume; snapshot?: string }, to: DiskVolume): Promise<void>;
  /** Read-only from now on, where the driver can: images. */
  seal(volume: DiskVolume): Promise<void>;
  /** Where the contents are while it is mounted. */
  path(volume: DiskVolume): string;
  mount(volume: DiskVolume): Promise<void>;
  unmount(volume: DiskVolume): Promise<void>;

  readonly snapshots?: Snapshots;
  readonly quotas?: Quotas;
  readonly optimized?: OptimizedBackups;
}

/** What this host has for a driver. Never throws, bounded in time. */
export type ProbeResult = { state: 'ready'; version: string } | { state: 'missing' | 'broken'; reason: string };

export interface DriverFactory {
  open(place: PoolPlace): StorageDriver;
  probe(): Promise<ProbeResult>;
}

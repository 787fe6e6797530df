import type { CallContext } from '#members';
import type { VolumeRef } from '../model/index.js';

export type { VolumeRef, VolumeType } from '../model/index.js';

export interface MountedVolume extends AsyncDisposable {
  /** Directory that holds `rootfs/`, `metadata.yaml`, `templates/` (instances), or the data itself (custom). */
  readonly path: string;
}

export type VolumeSource =
  /** `fill` writes into the directory it is given. With `cacheKey` (an image's fingerprint) it runs once per pool, and the volume is a clone of its result where the driver can clone. */
  | { kind: 'fill'; cacheKey?: string; fill: (path: string, signal: AbortSignal) => Promise<void> }
  | { kind: 'copy'; from: VolumeRef; snapshot?: string; snapshots: boolean }
  | { kind: 'empty' };

/** Volumes and pools on this member, whatever their driver. Calls are safe to repeat; what fails half way cleans up after itself. */
export interface StorageHost {
  /** Volume rows are the caller's (they share the caller's command); this makes, mounts and removes what is on disk. */
  create(volume: VolumeRef, config: Record<string, string>, source: VolumeSource, context: CallContext): Promise<void>;
  /** Nothing there is success. */
  remove(volume: VolumeRef): Promise<void>;
  rename(volume: VolumeRef, newName: string): Promise<void>;
  /** Counted: the last dispose unmounts, where the driver mounts at all. */
  mount(volume: VolumeRef): Promise<MountedVolume>;
  snapshot(volume: VolumeRef, name: string): Promise<void>;
  removeSnapshot(volume: VolumeRef, name: string): Promise<void>;
  renameSnapshot(volume: VolumeRef, name: string, newName: string): Promise<void>;
  restore(volume: VolumeRef, snapshot: string): Promise<void>;
  mountSnapshot(volume: VolumeRef, snapshot: string): Promise<MountedVolume>;
  /** Bytes used; undefined where the driver cannot tell. */
  usage(volume: VolumeRef): Promise<number | undefined>;
  /** `size` in bytes, 0: no limit. */
  setQuota(volume: VolumeRef, sizeBytes: number): Promise<void>;
  /** Path of the instance's directory as clients of the state directory know it: STATE/containers/[project_]name. */
  instanceLink(volume: VolumeRef): string;
}

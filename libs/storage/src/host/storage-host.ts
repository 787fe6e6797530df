import type { Idmap } from '#host-kit';
import type { CallContext } from '#members';
import type { DriverCapabilities, VolumeRef } from '../model/index.js';
import type { OptimizedFiles, OptimizedSource } from './driver.js';

export type { VolumeRef, VolumeType } from '../model/index.js';

export interface MountedVolume extends AsyncDisposable {
  /** Directory that holds `rootfs/`, `metadata.yaml`, `templates/` (instances), or the data itself (custom). */
  readonly path: string;
}

export type VolumeSource =
  /**
   * `fill` writes into the directory it is given. With `cacheKey` (an image's fingerprint) it runs once per pool, and the volume is a clone of its result
   * where the driver can clone. Its signal is aborted when nobody waits for the result any more. Without `cacheKey` it may take snapshots on the way: of what
   * it has written so far. Their rows are the caller's.
   */
  | { kind: 'fill'; cacheKey?: string; fill: (path: string, signal: AbortSignal, snapshot: (name: string) => Promise<void>) => Promise<void> }
  /** Of a volume, or of one of its snapshots; with `snapshots` all of them too (of a volume). The rows of the new snapshots are the caller's. */
  | { kind: 'copy'; from: VolumeRef; snapshot?: string; snapshots: boolean }
  /** In the format of the pool's driver; the rows of the snapshots are the caller's. `check` sees each tree, and may refuse it. */
  | { kind: 'optimized'; source: OptimizedSource; check: (path: string) => Promise<void> }
  | { kind: 'empty' };

/** Volumes and pools on this member, whatever their driver. Calls are safe to repeat; what fails half way cleans up after itself. */
export interface StorageHost {
  /**
   * Volume rows are the caller's (they share the caller's command); this makes, mounts and removes what is on disk. `config.size` becomes its quota.
   * @throws Fault unavailable for a pool that is not, conflict if there is such a volume on disk
   */
  create(volume: VolumeRef, config: Record<string, string>, source: VolumeSource, context: CallContext): Promise<void>;
  /** With its snapshots and links. Nothing there is success. @throws Fault conflict while it is mounted */
  remove(volume: VolumeRef): Promise<void>;
  /** With its snapshots and links. Renamed already is success. */
  rename(volume: VolumeRef, newName: string): Promise<void>;
  /** Counted: the last dispose unmounts, where the driver mounts at all. */
  mount(volume: VolumeRef): Promise<MountedVolume>;
  isMounted(volume: VolumeRef): boolean;
  /**
   * Gives the files of a custom volume, mounted by the caller, the owners that a map wants ([]: ids as in the container), as LXD has them on disk. The row
   * says which they have. @throws Fault conflict while others use it with another map
   */
  remap(volume: VolumeRef, idmap: Idmap): Promise<void>;
  snapshot(volume: VolumeRef, name: string): Promise<void>;
  removeSnapshot(volume: VolumeRef, name: string): Promise<void>;
  renameSnapshot(volume: VolumeRef, name: string, newName: string): Promise<void>;
  /** Interrupted by a crash, it is done again at the next start. */
  restore(volume: VolumeRef, snapshot: string): Promise<void>;
  mountSnapshot(volume: VolumeRef, snapshot: string): Promise<MountedVolume>;
  /** Makes the contents of a volume those of another; not its snapshots. */
  refresh(volume: VolumeRef, from: VolumeRef): Promise<void>;
  /** A snapshot of one volume becomes one of another. Across pools the target's contents must be those that come after it, and are kept. */
  copySnapshot(from: VolumeRef, name: string, to: VolumeRef): Promise<void>;
  /** Snapshots, oldest first, and the volume in the driver's own format, into files of a directory. @throws Fault unsupported */
  exportOptimized(volume: VolumeRef, snapshots: readonly string[], directory: string, signal?: AbortSignal): Promise<OptimizedFiles>;
  /** Bytes used; undefined where the driver cannot tell. */
  usage(volume: VolumeRef): Promise<number | undefined>;
  /** `size` in bytes, 0: no limit. Ignored, with a line in the log, where the driver has no quotas. */
  setQuota(volume: VolumeRef, sizeBytes: number): Promise<void>;
  /** In each pool of this member where an image lies unpacked, another does too from now on, before anyone wants it. `fill` as in VolumeSource. Never throws. */
  cacheInPlaceOf(before: string, fingerprint: string, fill: (path: string, signal: AbortSignal) => Promise<void>): Promise<void>;
  /** Unpacked copies of an image in all pools of this member, or in one, with their rows. */
  removeImage(fingerprint: string, context: CallContext, fromPool?: string): Promise<void>;
  /** Path of the instance's directory as clients of the state directory know it: STATE/containers/[project_]name. */
  instanceLink(volume: VolumeRef): string;
  /** What the pool's driver can do. @throws Fault notFound */
  capabilities(pool: string): DriverCapabilities;
}

import { idmapFromJson, idmapToJson, sameIdmap, shiftTree, type Idmap } from '#host-kit';
import { KeyedLocks, Undo, fault, parseSize } from '#kit';
import type { CallContext, HostContext } from '#members';
import { internalIdentity } from '#replica/state';
import { type DriverCapabilities, driverDescription, instanceLinkPath, nameOnDisk, volumeKey, type VolumeRef } from '../model/index.js';
import { deleteVolume, imageVolumes, pool, recordImageVolume, recordVolumeIdmap, volume as volumeRow } from '../state/index.js';
import { sizeBlockFile } from './block-file.js';
import type { DiskVolume, OptimizedFiles, StorageDriver } from './driver.js';
import { copyTree, type CopyOptions } from './files.js';
import { ImageCache, imageVolume } from './image-cache.js';
import { InstanceLinks } from './instance-links.js';
import type { Intents } from './intents.js';
import type { Pools } from './pools.js';
import type { MountedVolume, StorageHost, VolumeSource } from './storage-host.js';

/** Volumes of this member's pools. */
export class LocalStorage implements StorageHost {
  readonly #locks = new KeyedLocks();
  readonly #mounts = new Map<string, number>();
  readonly #links: InstanceLinks;
  readonly images: ImageCache;

  constructor(
    private readonly context: HostContext,
    private readonly pools: Pools,
    private readonly intents: Intents,
  ) {
    this.#links = new InstanceLinks(context.server.stateDir);
    const recordRow = async (poolName: string, fingerprint: string): Promise<void> => {
      const ref: VolumeRef = { pool: poolName, project: 'default', type: 'image', name: fingerprint };
      if (imageVolumes(context.replica.reader, fingerprint).some((row) => row.pool === ref.pool && row.memberId === context.server.memberId)) return;
      await context.replica.submit(
        recordImageVolume,
        { pool: poolName, fingerprint, memberId: context.server.memberId },
        { identity: internalIdentity },
      );
    };
    this.images = new ImageCache(recordRow, context.log);
  }

  async create(volume: VolumeRef, config: Record<string, string>, source: VolumeSource, context: CallContext): Promise<void> {
    const { driver, disk } = this.pools.locate(volume);
    const size = parseSize(config['size'] ?? '');
    const keys = [volumeKey(volume), ...(source.kind === 'copy' ? [volumeKey(source.from)] : [])];
    await this.#locks.hold(keys, () =>
      this.intents.during({ kind: 'create-volume', volume }, async () => {
        await this.#clearLeftover(driver, volume, disk);
        if (await driver.exists(disk)) throw fault.conflict(`Volume "${volume.name}" already exists on storage pool "${volume.pool}"`);
        await using undo = new Undo(this.context.log);
        undo.add('volume', () => driver.remove(disk));
        await this.#fill(driver, volume, disk, source, context);
        if (size > 0 || disk.contentType === 'block') await this.#limit(driver, disk, size);
        undo.add('links', () => this.#links.remove(volume));
        await this.#links.ensure(volume, driver.path(disk));
        await this.#linkSnapshots(driver, volume, disk);
        undo.drop();
      }),
    );
  }

  /** A creation or removal that a crash cut off, on a pool that was away at the start: what it left must go before something new has the name. */
  async #clearLeftover(driver: StorageDriver, volume: VolumeRef, disk: DiskVolume): Promise<void> {
    for (const { id, intent } of this.intents.unfinished()) {
      if ((intent.kind !== 'create-volume' && intent.kind !== 'remove-volume') || volumeKey(intent.volume) !== volumeKey(volume)) continue;
      await driver.remove(disk);
      this.intents.settle(id);
    }
  }

  async #fill(driver: StorageDriver, volume: VolumeRef, disk: DiskVolume, source: VolumeSource, context: CallContext): Promise<void> {
    switch (source.kind) {
      case 'empty':
        return driver.create(disk);
      case 'fill': {
        const { cacheKey, fill } = source;
        if (cacheKey === undefined || !driver.capabilities.optimizedImages) {
          await driver.create(disk);
          return fill(driver.path(disk), context.signal ?? new AbortController().signal, async (name) => {
            if (!driver.snapshots) throw fault.unsupported('The storage pool has no snapshots');
            await driver.snapshots.create(disk, name);
          });
        }
        const unpack = (path: string, signal: AbortSignal): Promise<void> =>
          fill(path, signal, async () => {
            throw fault.unsupported('An image has no snapshots');
          });
        await this.images.ensure(volume.pool, driver, cacheKey, unpack, context.signal);
        const image: VolumeRef = { pool: volume.pool, project: 'default', type: 'image', name: cacheKey };
        return this.#locks.hold([volumeKey(image)], () => driver.clone({ volume: imageVolume(cacheKey) }, disk));
      }
      case 'copy':
        return this.#copy(driver, disk, source, context);
      case 'optimized':
        if (!driver.optimized || !driver.snapshots) throw fault.unsupported('The storage pool takes no optimized backups');
        await driver.optimized.receive(disk, source.source, context.signal);
        for (const name of source.source.snapshots) await source.check(driver.snapshots.path(disk, name));
        return source.check(driver.path(disk));
    }
  }

  async #copy(driver: StorageDriver, to: DiskVolume, source: VolumeSource & { kind: 'copy' }, context: CallContext): Promise<void> {
    const from = this.pools.locate(source.from);
    const names = source.snapshots && source.snapshot === undefined ? ((await from.driver.snapshots?.list(from.disk)) ?? []) : [];
    if (from.driver === driver) {
      await driver.clone({ volume: from.disk, snapshot: source.snapshot }, to);
      for (const name of names) await driver.snapshots!.copy(from.disk, name, to);
      return;
    }
    if (driver.optimized && from.driver.optimized && driver.capabilities === from.driver.capabilities) {
      // The same driver: subvolumes that a guest made stay what they are.
      await using optimized = await from.driver.optimized.source(from.disk, names, source.snapshot);
      return await driver.optimized.receive(to, optimized, context.signal);
    }
    const options = this.#copyOptions(source.from.pool, context.signal);
    await driver.create(to);
    await driver.mount(to);
    // Oldest first into the one target: each snapshot costs only what differs from the one before.
    for (const name of names) {
      await copyTree(from.driver.snapshots!.path(from.disk, name), driver.path(to), options);
      if (!driver.snapshots) throw fault.unsupported('The target pool has no snapshots');
      await driver.snapshots.create(to, name);
    }
    const current = source.snapshot === undefined ? from.driver.path(from.disk) : from.driver.snapshots!.path(from.disk, source.snapshot);
    await copyTree(current, driver.path(to), options);
    await driver.unmount(to);
  }

  async remove(volume: VolumeRef): Promise<void> {
    const { driver, disk } = this.pools.locate(volume);
    await this.#locks.hold([volumeKey(volume)], async () => {
      if (this.isMounted(volume)) throw fault.conflict(`Volume "${volume.name}" is in use`);
      await this.intents.during({ kind: 'remove-volume', volume }, async () => {
        await driver.remove(disk);
        await this.#links.remove(volume);
      });
    });
  }

  async rename(volume: VolumeRef, newName: string): Promise<void> {
    const { driver, disk } = this.pools.locate(volume);
    const renamed = { ...volume, name: newName };
    const target = { ...disk, name: nameOnDisk(renamed) };
    await this.#locks.hold([volumeKey(volume), volumeKey(renamed)], () =>
      this.intents.during({ kind: 'rename-volume', volume, newName }, async () => {
        await driver.rename(disk, target.name);
        await this.#links.remove(volume);
        await this.#links.ensure(renamed, driver.path(target));
        await this.#linkSnapshots(driver, renamed, target);
      }),
    );
  }

  async mount(volume: VolumeRef): Promise<MountedVolume> {
    const { driver, disk } = this.pools.locate(volume);
    const key = volumeKey(volume);
    await this.#locks.hold([key], async () => {
      if (!this.#mounts.has(key)) await driver.mount(disk);
      this.#mounts.set(key, (this.#mounts.get(key) ?? 0) + 1);
    });
    return counted(driver.path(disk), () =>
      this.#locks.hold([key], async () => {
        const left = (this.#mounts.get(key) ?? 1) - 1;
        if (left > 0) {
          this.#mounts.set(key, left);
          return;
        }
        this.#mounts.delete(key);
        await driver.unmount(disk);
      }),
    );
  }

  isMounted(volume: VolumeRef): boolean {
    return this.#mounts.has(volumeKey(volume));
  }

  async remap(volume: VolumeRef, idmap: Idmap): Promise<void> {
    const { replica, server } = this.context;
    const { driver, disk } = this.pools.locate(volume);
    const key = volumeKey(volume);
    await this.#locks.hold([key], async () => {
      const onDisk = idmapFromJson(volumeRow(replica.reader, volume, server.memberId).config['volatile.idmap.last'] ?? '');
      if (sameIdmap(onDisk, idmap)) return;
      if ((this.#mounts.get(key) ?? 0) > 1) throw fault.conflict('Idmaps of container and storage volume are not identical', { status: 500 });
      const to = idmapToJson(idmap);
      await this.intents.during({ kind: 'remap', volume, to }, async () => {
        await shiftTree(driver.path(disk), onDisk, idmap);
        await replica.submit(recordVolumeIdmap, { volume, memberId: server.memberId, idmap: to }, { identity: internalIdentity });
      });
    });
  }

  snapshot(volume: VolumeRef, name: string): Promise<void> {
    return this.#withSnapshots(volume, (snapshots, driver, disk) =>
      this.intents.during({ kind: 'snapshot', volume, snapshot: name }, async () => {
        await snapshots.create(disk, name);
        await this.#linkSnapshots(driver, volume, disk);
      }),
    );
  }

  removeSnapshot(volume: VolumeRef, name: string): Promise<void> {
    return this.#withSnapshots(volume, async (snapshots, driver, disk) => {
      await snapshots.remove(disk, name);
      await this.#linkSnapshots(driver, volume, disk);
    });
  }

  renameSnapshot(volume: VolumeRef, name: string, newName: string): Promise<void> {
    return this.#withSnapshots(volume, async (snapshots, _, disk) => {
      const names = await snapshots.list(disk);
      if (!names.includes(name) && names.includes(newName)) return;
      await snapshots.rename(disk, name, newName);
    });
  }

  restore(volume: VolumeRef, snapshot: string): Promise<void> {
    return this.#withSnapshots(volume, (snapshots, _, disk) =>
      this.intents.during({ kind: 'restore', volume, snapshot }, () => snapshots.restore(disk, snapshot)),
    );
  }

  async mountSnapshot(volume: VolumeRef, snapshot: string): Promise<MountedVolume> {
    const { driver, disk } = this.pools.locate(volume);
    if (!(await driver.snapshots?.list(disk))?.includes(snapshot)) throw fault.notFound(`Snapshot "${snapshot}" does not exist on storage`);
    return counted(driver.snapshots!.path(disk, snapshot), async () => {});
  }

  async exportOptimized(volume: VolumeRef, snapshots: readonly string[], directory: string, signal?: AbortSignal): Promise<OptimizedFiles> {
    const { driver, disk } = this.pools.locate(volume);
    const { optimized } = driver;
    if (!optimized) throw fault.unsupported('The storage pool makes no optimized backups');
    return this.#locks.hold([volumeKey(volume)], () => optimized.send(disk, snapshots, directory, signal));
  }

  async usage(volume: VolumeRef): Promise<number | undefined> {
    const { driver, disk } = this.pools.locate(volume);
    return driver.quotas?.usage(disk);
  }

  async setQuota(volume: VolumeRef, sizeBytes: number): Promise<void> {
    const { driver, disk } = this.pools.locate(volume);
    await this.#locks.hold([volumeKey(volume)], () => this.#limit(driver, disk, sizeBytes));
  }

  /** Makes the contents of a volume those of another; not its snapshots. */
  async refresh(volume: VolumeRef, from: VolumeRef): Promise<void> {
    const [target, source] = [this.pools.locate(volume), this.pools.locate(from)];
    await this.#locks.hold([volumeKey(volume), volumeKey(from)], () =>
      copyTree(source.driver.path(source.disk), target.driver.path(target.disk), this.#copyOptions(from.pool)),
    );
  }

  /** A snapshot of one volume becomes one of another. Across pools the target's contents must be those that come after it, and are kept. */
  async copySnapshot(from: VolumeRef, name: string, to: VolumeRef): Promise<void> {
    const [source, target] = [this.pools.locate(from), this.pools.locate(to)];
    const { snapshots } = target.driver;
    if (!snapshots || !source.driver.snapshots) throw fault.unsupported('The storage pool has no snapshots');
    await this.#locks.hold([volumeKey(from), volumeKey(to)], () =>
      this.intents.during({ kind: 'snapshot', volume: to, snapshot: name }, async () => {
        if (source.driver === target.driver) return snapshots.copy(source.disk, name, target.disk);
        const path = target.driver.path(target.disk);
        await copyTree(source.driver.snapshots!.path(source.disk, name), path, this.#copyOptions(from.pool));
        await snapshots.create(target.disk, name);
        await copyTree(source.driver.path(source.disk), path, this.#copyOptions(from.pool));
      }),
    );
  }

  #copyOptions(poolName: string, signal?: AbortSignal): CopyOptions {
    return { bandwidthBytes: parseSize(this.pools.config(poolName)['rsync.bwlimit'] ?? ''), signal };
  }

  async cacheInPlaceOf(before: string, fingerprint: string, fill: (path: string, signal: AbortSignal) => Promise<void>): Promise<void> {
    const { replica, server, log } = this.context;
    for (const { pool: name, memberId } of imageVolumes(replica.reader, before)) {
      if (memberId !== server.memberId) continue;
      try {
        await this.images.ensure(name, this.pools.driver(name), fingerprint, fill);
      } catch (error) {
        log.warn({ err: error, pool: name, fingerprint }, 'could not unpack an image ahead of its use');
      }
    }
  }

  async removeImage(fingerprint: string, context: CallContext, fromPool?: string): Promise<void> {
    for (const row of imageVolumes(this.context.replica.reader, fingerprint)) {
      if (fromPool !== undefined && row.pool !== fromPool) continue;
      if (row.memberId !== 0 && row.memberId !== this.context.server.memberId) continue;
      const driver = this.pools.driver(row.pool);
      await this.#locks.hold([volumeKey(row)], () => driver.remove(imageVolume(fingerprint)));
      const ref: VolumeRef = { pool: row.pool, project: row.project, type: 'image', name: fingerprint };
      await this.context.replica.submit(
        deleteVolume,
        { volume: ref, memberId: row.memberId },
        { identity: context.identity, requestId: context.requestId },
      );
    }
  }

  instanceLink(volume: VolumeRef): string {
    return instanceLinkPath(this.context.server.stateDir, volume);
  }

  capabilities(poolName: string): DriverCapabilities {
    return driverDescription(pool(this.context.replica.reader, poolName).driver).capabilities;
  }

  async #limit(driver: StorageDriver, disk: DiskVolume, sizeBytes: number): Promise<void> {
    if (disk.contentType === 'block') return sizeBlockFile(driver.path(disk), sizeBytes);
    if (driver.quotas) return driver.quotas.set(disk, sizeBytes);
    if (sizeBytes > 0) this.context.log.warn({ volume: disk.name }, 'the pool has no quotas: the size of a volume is not enforced');
  }

  async #linkSnapshots(driver: StorageDriver, volume: VolumeRef, disk: DiskVolume): Promise<void> {
    if (!driver.snapshots) return;
    const directory = driver.snapshots.path(disk, '').replace(/\/$/, '');
    await this.#links.snapshots(volume, directory, (await driver.snapshots.list(disk)).length > 0);
  }

  #withSnapshots<T>(
    volume: VolumeRef,
    work: (snapshots: NonNullable<StorageDriver['snapshots']>, driver: StorageDriver, disk: DiskVolume) => Promise<T>,
  ): Promise<T> {
    const { driver, disk } = this.pools.locate(volume);
    const { snapshots } = driver;
    if (!snapshots) throw fault.unsupported('The storage pool has no snapshots');
    return this.#locks.hold([volumeKey(volume)], () => work(snapshots, driver, disk));
  }
}

function counted(path: string, release: () => Promise<void>): MountedVolume {
  let disposed = false;
  return {
    path,
    async [Symbol.asyncDispose]() {
      if (disposed) return;
      disposed = true;
      await release();
    },
  };
}

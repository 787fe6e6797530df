import { mkdir, rmdir } from 'node:fs/promises';
import { apiUrl } from '#api-contract';
import { Fault, fault, type Logger } from '#kit';
import type { Reader } from '#replica/state';
import type { Warnings } from '#warnings/host';
import { driverDescription, nameOnDisk, poolPath, type VolumeRef } from '../model/index.js';
import { configOn, findVolume, pool, pools, type PoolRecord } from '../state/index.js';
import type { DiskVolume, PoolPlace, StorageDriver } from './driver.js';
import { namesIn, pathExists } from './files.js';
import { driverFactories } from './registry.js';

const retryMs = 60_000;

interface OpenPool {
  place: PoolPlace;
  driver: StorageDriver;
}

/** The pools of this member: their drivers, and whether they can be used now. */
export class Pools {
  readonly #open = new Map<string, OpenPool>();
  readonly #unavailable = new Map<string, string>();
  #retry?: NodeJS.Timeout;

  constructor(
    private readonly reader: Reader,
    private readonly server: { stateDir: string; memberId: number },
    private readonly warnings: Warnings,
    private readonly log: Logger,
  ) {}

  /** @throws Fault notFound; unavailable while it could not be mounted */
  driver(name: string): StorageDriver {
    const record = pool(this.reader, name);
    if (record.state === 'pending') throw fault.invalid('Specified pool is not fully created');
    if (this.#unavailable.has(name)) throw fault.unavailable('Storage pool is unavailable on this server');
    return this.#opened(record).driver;
  }

  /** The volume under its name on disk, with the driver that has it. */
  locate(volume: VolumeRef): { driver: StorageDriver; disk: DiskVolume } {
    const contentType = findVolume(this.reader, volume, this.server.memberId)?.contentType ?? 'filesystem';
    return { driver: this.driver(volume.pool), disk: { type: volume.type, name: nameOnDisk(volume), contentType } };
  }

  config(name: string): Record<string, string> {
    return configOn(pool(this.reader, name), this.server.memberId);
  }

  isAvailable(name: string): boolean {
    return !this.#unavailable.has(name);
  }

  /** For a pool without a usable row yet: being made. */
  driverFor(name: string, driver: string, config: Record<string, string>): StorageDriver {
    return this.#openAs(name, driver, config).driver;
  }

  /** Makes the mount point, the pool, and mounts it; gives the config to record. What it made is gone when it throws. */
  async make(name: string, driverName: string, config: Record<string, string>, made: () => void): Promise<Record<string, string>> {
    const path = poolPath(this.server.stateDir, name);
    if ((await namesIn(path)).length > 0) throw fault.conflict(`Storage pool directory "${path}" already exists`);
    await mkdir(path, { recursive: true, mode: 0o711 });
    const open = this.#openAs(name, driverName, config);
    try {
      open.place.config = await open.driver.createPool();
      made();
      try {
        await open.driver.mountPool();
      } catch (error) {
        await open.driver.removePool();
        throw error;
      }
      return { ...open.place.config };
    } catch (error) {
      await this.discard(name);
      throw error;
    }
  }

  /** Takes an open pool's data and mount point away. Safe to repeat. */
  async destroy(name: string, driverName: string, config: Record<string, string>): Promise<void> {
    const { driver } = this.#openAs(name, driverName, config);
    await driver.removePool();
    await this.discard(name);
    this.#unavailable.delete(name);
    this.warnings.resolve('poolUnavailable', about(name));
  }

  /** Forgets the driver, and removes the mount point if it is empty. */
  async discard(name: string): Promise<void> {
    this.#open.delete(name);
    const path = poolPath(this.server.stateDir, name);
    if (await pathExists(path)) await rmdir(path).catch((error: unknown) => this.log.warn({ err: error, pool: name }, 'mount point of a pool stays'));
  }

  async update(name: string, after: Record<string, string>): Promise<void> {
    const driver = this.driver(name);
    await driver.updatePool(after);
    this.#open.get(name)!.place.config = after;
  }

  /** Mounts every pool of this member. One that cannot be is unavailable, warned of, and tried again each minute. */
  async start(): Promise<void> {
    for (const record of pools(this.reader)) {
      const here = record.members.find(({ memberId }) => memberId === this.server.memberId);
      if (here?.state === 'created' && record.state !== 'pending') await this.#mount(record);
    }
    this.#retry = setInterval(() => void this.#retryUnavailable(), retryMs);
    this.#retry.unref();
  }

  /** With `unmount` the pools are taken down (nothing runs on them any more); otherwise they stay for who goes on using them. */
  async stop(options: { unmount: boolean }): Promise<void> {
    clearInterval(this.#retry);
    if (!options.unmount) return;
    for (const [name, { driver }] of this.#open) {
      await driver.unmountPool().catch((error: unknown) => this.log.warn({ err: error, pool: name }, 'could not unmount a pool'));
    }
  }

  async #mount(record: PoolRecord): Promise<void> {
    try {
      await mkdir(poolPath(this.server.stateDir, record.name), { recursive: true, mode: 0o711 });
      await this.#opened(record).driver.mountPool();
      if (this.#unavailable.delete(record.name)) this.log.info({ pool: record.name }, 'storage pool is available again');
      this.warnings.resolve('poolUnavailable', about(record.name));
    } catch (error) {
      const { message, detail } = Fault.from(error);
      if (!this.#unavailable.has(record.name)) this.log.error({ err: error, detail, pool: record.name }, 'storage pool is unavailable');
      this.#unavailable.set(record.name, message);
      this.warnings.raise('poolUnavailable', message, about(record.name));
    }
  }

  async #retryUnavailable(): Promise<void> {
    for (const record of pools(this.reader)) if (this.#unavailable.has(record.name)) await this.#mount(record);
  }

  #opened(record: PoolRecord): OpenPool {
    return this.#open.get(record.name) ?? this.#openAs(record.name, record.driver, configOn(record, this.server.memberId));
  }

  #openAs(name: string, driverName: string, config: Record<string, string>): OpenPool {
    const known = this.#open.get(name);
    if (known) return known;
    driverDescription(driverName);
    const place: PoolPlace = {
      name,
      path: poolPath(this.server.stateDir, name),
      stateDir: this.server.stateDir,
      config,
      log: this.log.child({ pool: name }),
    };
    const open = { place, driver: driverFactories[driverName]!.open(place) };
    this.#open.set(name, open);
    return open;
  }
}

const about = (pool: string): { entityUrl: string } => ({ entityUrl: apiUrl(['storage-pools', pool]) });

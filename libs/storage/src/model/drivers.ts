import { type KeyDefinitions, type Keys, defineKeys, isTrue } from '#config-keys';
import { fault, Fault } from '#kit';
import { asVolumeDefaults, commonPoolKeys, commonVolumeKeys, internalVolumeKeys, sharingKeys } from './keys/common.keys.js';
import { btrfsPoolKeys } from './keys/btrfs.keys.js';
import { dirPoolKeys } from './keys/dir.keys.js';
import type { ContentType, VolumeType } from './volumes.js';

/** What a storage driver can do, as plain data: the core asks these, never a driver's name. */
export interface DriverCapabilities {
  /** The same data is seen by every member. */
  readonly remote: boolean;
  /** Unpacked images are kept as volumes, and an instance starts as their clone. */
  readonly optimizedImages: boolean;
  /** Backups may be in the driver's own format. */
  readonly optimizedBackups: boolean;
  /** A running container must be frozen to be copied whole. */
  readonly runningCopyFreeze: boolean;
  /** Block volumes as well as file systems. */
  readonly block: boolean;
}

export interface DriverDescription {
  readonly name: string;
  readonly capabilities: DriverCapabilities;
  readonly poolKeys: Keys;
  readonly volumeKeys: Keys;
}

const describe = (name: string, capabilities: DriverCapabilities, poolKeys: KeyDefinitions): DriverDescription => ({
  name,
  capabilities,
  poolKeys: defineKeys(`storage-pool-${name}`, commonPoolKeys, poolKeys, asVolumeDefaults({ ...commonVolumeKeys, ...sharingKeys })),
  volumeKeys: defineKeys(`storage-volume-${name}`, commonVolumeKeys, sharingKeys, internalVolumeKeys),
});

const plain: DriverCapabilities = { remote: false, optimizedImages: false, optimizedBackups: false, runningCopyFreeze: true, block: true };

/** Every driver of this build, whatever this host has. `memory` serves tests and the simulator, and is not offered to clients. */
export const driverDescriptions: Readonly<Record<string, DriverDescription>> = {
  dir: describe('dir', plain, dirPoolKeys),
  btrfs: describe('btrfs', { ...plain, optimizedImages: true, optimizedBackups: true, runningCopyFreeze: false }, btrfsPoolKeys),
  memory: describe('memory', { ...plain, optimizedImages: true, runningCopyFreeze: false, block: false }, dirPoolKeys),
};

/** Drivers that clients may choose and are told of. */
export const offeredDrivers: readonly string[] = ['dir', 'btrfs'];

/** @throws Fault invalid for a driver that this build does not have */
export function driverDescription(name: string): DriverDescription {
  const found = Object.hasOwn(driverDescriptions, name) ? driverDescriptions[name] : undefined;
  if (!found) throw fault.invalid(`Unknown storage driver "${name}"`);
  return found;
}

/** Config keys whose value each member has for itself. */
export const memberPoolKeys: readonly string[] = ['source', 'size', 'volatile.initial_source'];

export function splitPoolConfig(config: Record<string, string>): { global: Record<string, string>; member: Record<string, string> } {
  const isMember = ([key]: [string, string]): boolean => memberPoolKeys.includes(key);
  const entries = Object.entries(config);
  return { global: Object.fromEntries(entries.filter((entry) => !isMember(entry))), member: Object.fromEntries(entries.filter(isMember)) };
}

/** @throws Fault invalid with LXD's words */
export function checkPoolConfig(driver: string, config: Record<string, string>): void {
  checkEach(driverDescription(driver).poolKeys, config);
}

/** @throws Fault invalid */
export function checkVolumeConfig(driver: string, config: Record<string, string>, type: VolumeType, contentType: ContentType): void {
  checkEach(driverDescription(driver).volumeKeys, config);
  if (type !== 'custom' || contentType !== 'filesystem') {
    const misplaced = Object.keys(sharingKeys).find((key) => key in config);
    if (misplaced) throw fault.invalid(`Invalid option "${misplaced}"`);
  }
  if (type !== 'image' && 'volatile.rootfs.size' in config) throw fault.invalid('Invalid option "volatile.rootfs.size"');
  if (isTrue(config['security.unmapped']) && isTrue(config['security.shifted']))
    throw fault.invalid('security.unmapped and security.shifted are mutually exclusive');
}

/** A new volume's config: its own, then what the pool gives as `volume.*`. */
export function withPoolDefaults(
  config: Record<string, string>,
  poolConfig: Record<string, string>,
  type: VolumeType,
  contentType: ContentType,
): Record<string, string> {
  const result = { ...config };
  for (const [poolKey, value] of Object.entries(poolConfig)) {
    if (!poolKey.startsWith('volume.') || value === '') continue;
    const key = poolKey.slice('volume.'.length);
    if (key === 'size' && type !== 'custom') continue;
    if (key in sharingKeys && (type !== 'custom' || contentType !== 'filesystem')) continue;
    if (!result[key]) result[key] = value;
  }
  return Object.fromEntries(Object.entries(result).filter(([, value]) => value !== ''));
}

/** A config for the files of a volume that has another: what is on disk stays said, whoever writes the config. */
export function withIdmapOf(files: Record<string, string>, config: Record<string, string>): Record<string, string> {
  const { 'volatile.idmap.last': _, 'volatile.idmap.next': __, ...rest } = config;
  const kept = ['volatile.idmap.last', 'volatile.idmap.next'].flatMap((key) => (files[key] === undefined ? [] : [[key, files[key]]]));
  return { ...rest, ...Object.fromEntries(kept) };
}

/** For a copy to a pool of another driver: what that one does not know falls away. */
export function knownVolumeKeys(driver: string, config: Record<string, string>): Record<string, string> {
  const { volumeKeys } = driverDescription(driver);
  return Object.fromEntries(Object.entries(config).filter(([key]) => volumeKeys.find(key) !== undefined));
}

function checkEach(keys: Keys, config: Record<string, string>): void {
  for (const [key, value] of Object.entries(config)) {
    if (typeof value !== 'string') throw fault.invalid(`Invalid value for option "${key}": not a string`);
    if (!keys.find(key)) throw fault.invalid(`Invalid option "${key}"`);
    try {
      keys.validate({ [key]: value });
    } catch (error) {
      throw fault.invalid(`Invalid value for option "${key}": ${Fault.from(error).message}`);
    }
  }
}

import type { KeyDefinitions } from '#config-keys';
import { checkExpiry, checkSchedule } from '../checks.js';

/** Keys that a volume of any driver has. `volume.*` of a pool are their defaults for new volumes. */
export const commonVolumeKeys: KeyDefinitions = {
  size: { type: 'size', since: 'storage', whileInUse: 'at-once', doc: { short: 'Size or quota of the volume' } },
  'snapshots.expiry': {
    type: 'time',
    since: 'custom_volume_snapshot_expiry',
    check: checkExpiry,
    doc: { short: 'When snapshots are deleted, counted from their creation', long: 'An expression like `1M 2H 3d 4w 5m 6y`.' },
  },
  'snapshots.schedule': {
    type: 'string',
    since: 'custom_volume_snapshot_expiry',
    check: checkSchedule,
    doc: { short: 'When snapshots are taken', long: 'Cron expression, or @hourly, @daily, @midnight, @weekly, @monthly, @annually, @yearly.' },
  },
  'snapshots.pattern': {
    type: 'string',
    since: 'custom_volume_snapshot_expiry',
    default: 'snap%d',
    doc: { short: 'Name of snapshots that are taken without one' },
  },
};

/** Custom filesystem volumes only. */
export const sharingKeys: KeyDefinitions = {
  'security.shifted': {
    type: 'bool',
    since: 'shiftfs',
    default: 'false',
    whileInUse: 'refused',
    doc: { short: 'Shift ids at mount, so that isolated instances can share it' },
  },
  'security.unmapped': { type: 'bool', since: 'storage_unmapped', default: 'false', doc: { short: 'Keep ids of the host: no map' } },
};

export const internalVolumeKeys: KeyDefinitions = {
  'volatile.idmap.last': { type: 'string', since: 'storage_shifted', doc: { short: 'Id map that the files have on disk' } },
  'volatile.idmap.next': { type: 'string', since: 'storage_shifted', doc: { short: 'Id map of the next use' } },
  'volatile.rootfs.size': { type: 'integer', since: 'storage', doc: { short: "Size of an image's root file system, in bytes" } },
  'user.*': { type: 'string', since: 'core', doc: { short: 'Free for users' } },
};

export const commonPoolKeys: KeyDefinitions = {
  source: {
    type: 'string',
    scope: 'member',
    since: 'storage',
    whileInUse: 'refused',
    doc: { short: 'Where the data lies: a directory, a block device, a loop file' },
  },
  'volatile.initial_source': {
    type: 'string',
    scope: 'member',
    since: 'storage_volatile_initial_source',
    doc: { short: 'The source as it was given' },
  },
  'rsync.bwlimit': { type: 'size', since: 'storage_rsync_bwlimit', default: '0', doc: { short: 'Upper limit of rsync transfers, bytes a second' } },
  'rsync.compression': { type: 'bool', since: 'storage_rsync_compression', default: 'true', doc: { short: 'Compress rsync transfers' } },
  'user.*': { type: 'string', since: 'core', doc: { short: 'Free for users' } },
};

/** `volume.KEY` for each of the given keys. */
export function asVolumeDefaults(keys: KeyDefinitions): KeyDefinitions {
  return Object.fromEntries(
    Object.entries(keys).map(([name, key]) => [
      `volume.${name}`,
      { ...key, default: undefined, doc: { short: `Default for new volumes: ${key.doc.short}` } },
    ]),
  );
}

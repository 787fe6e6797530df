import type { StateWing } from '#replica/state';
import * as pools from './pool-commands.js';
import { StoragePoolMemberRow, StoragePoolRow, StorageVolumeRow, StorageVolumeSnapshotRow, storageMigrations } from './tables.js';
import * as volumes from './volume-commands.js';

export * from './etags.js';
export * from './pool-commands.js';
export * from './queries.js';
export type { PoolState } from './tables.js';
export * from './volume-commands.js';
export * from './volume-steps.js';

export const storageState: StateWing = {
  subject: 'storage',
  entities: [StoragePoolRow, StoragePoolMemberRow, StorageVolumeRow, StorageVolumeSnapshotRow],
  migrations: storageMigrations,
  commands: [
    pools.definePool,
    pools.definePoolOn,
    pools.definePendingPool,
    pools.settlePool,
    pools.poolErrored,
    pools.poolMade,
    pools.updatePool,
    pools.beginPoolRemoval,
    pools.keepPool,
    pools.forgetPool,
    volumes.createVolume,
    volumes.forgetVolume,
    volumes.deleteVolume,
    volumes.recordImageVolume,
    volumes.changeVolume,
    volumes.recordVolumeIdmap,
    volumes.renameCustomVolume,
    volumes.moveVolume,
    volumes.restoredVolume,
    volumes.createSnapshot,
    volumes.deleteSnapshot,
    volumes.renameSnapshot,
    volumes.changeSnapshot,
  ],
};

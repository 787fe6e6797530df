import { PoolsController } from './pools.controller.js';
import { VolumeSnapshotsController } from './volume-snapshots.controller.js';
import { VolumesController } from './volumes.controller.js';

export * from './ports.js';

export const storageControllers = [PoolsController, VolumesController, VolumeSnapshotsController];

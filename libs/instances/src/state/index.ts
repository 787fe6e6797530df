import type { StateWing } from '#replica/state';
import * as commands from './instance-commands.js';
import * as snapshots from './snapshot-commands.js';
import { InstanceProfileRow, InstanceRow, InstanceSnapshotRow, instanceMigrations } from './tables.js';

export * from './instance-commands.js';
export * from './project-limits.js';
export * from './queries.js';
export * from './rules.js';
export * from './snapshot-commands.js';
export { addSnapshot, instanceUrl, rootVolume, type NewSnapshotRow, type VolumeWords } from './steps.js';

export const instancesState: StateWing = {
  subject: 'instances',
  entities: [InstanceRow, InstanceProfileRow, InstanceSnapshotRow],
  migrations: instanceMigrations,
  commands: [
    commands.createInstance,
    commands.updateInstance,
    commands.renameInstance,
    commands.deleteInstance,
    commands.forgetInstance,
    commands.recordInstance,
    commands.relocateInstance,
    snapshots.createSnapshot,
    snapshots.deleteSnapshot,
    snapshots.renameSnapshot,
    snapshots.updateSnapshot,
  ],
};

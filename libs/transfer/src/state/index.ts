import type { StateWing } from '#replica/state';
import * as backups from './backups.js';
import * as moves from './moves.js';
import { InstanceBackupRow, VolumeBackupRow, transferMigrations } from './tables.js';

export * from './backups.js';
export * from './moves.js';

export const transferState: StateWing = {
  subject: 'transfer',
  entities: [InstanceBackupRow, VolumeBackupRow],
  migrations: transferMigrations,
  commands: [backups.createBackup, backups.backupMade, backups.renameBackup, backups.deleteBackup, moves.moveInstance, moves.addSnapshots],
};

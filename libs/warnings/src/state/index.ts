import type { StateWing } from '#replica/state';
import { deleteWarning, pruneWarnings, resolveWarnings, setWarningStatus, upsertWarning } from './commands.js';
import { warningMigrations, WarningRow } from './tables.js';

export * from './commands.js';
export * from './queries.js';

export const warningsState: StateWing = {
  subject: 'warnings',
  entities: [WarningRow],
  migrations: warningMigrations,
  commands: [upsertWarning, resolveWarnings, setWarningStatus, deleteWarning, pruneWarnings],
};

import type { StateWing } from '#replica/state';
import { changeServerConfig } from './commands.js';
import { ServerConfigRow, serverMigrations } from './tables.js';

export * from './commands.js';
export * from './queries.js';
export * from './sql/index.js';

export const serverState: StateWing = {
  subject: 'server',
  entities: [ServerConfigRow],
  migrations: serverMigrations,
  commands: [changeServerConfig],
};

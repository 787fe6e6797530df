import type { StateWing } from '#replica/state';
import { createProfile, deleteProfile, renameProfile, updateProfile } from './commands.js';
import { ProfileRow, profileMigrations } from './tables.js';

export * from './commands.js';
export * from './queries.js';

export const profilesState: StateWing = {
  subject: 'profiles',
  entities: [ProfileRow],
  migrations: profileMigrations,
  commands: [createProfile, updateProfile, renameProfile, deleteProfile],
};

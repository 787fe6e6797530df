import type { StateWing } from '#replica/state';
import { createNetwork, deleteNetwork, joinNetworks, renameNetwork, setNetworkStatus, updateNetwork } from './commands.js';
import { NetworkMemberRow, NetworkRow, networkMigrations } from './tables.js';

export * from './commands.js';
export * from './queries.js';

export const networksState: StateWing = {
  subject: 'networks',
  entities: [NetworkRow, NetworkMemberRow],
  migrations: networkMigrations,
  commands: [createNetwork, joinNetworks, setNetworkStatus, updateNetwork, renameNetwork, deleteNetwork],
};

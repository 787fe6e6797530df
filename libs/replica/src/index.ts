export { openReplica, type OpenReplicaOptions } from './handle/open-replica.js';
export * from './local-store.js';
export { lockStateDir } from './lock.js';
export * from './ports.js';

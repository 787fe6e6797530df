export { openReplica, type OpenReplicaOptions } from './handle/open-replica.js';
export * from './local-store.js';
export { lockStateDir } from './lock.js';
export * from './ports.js';
export { type EngineNetwork, engineServerName } from './transport/network.js';
export { installClusterKey, isSealed, openSealer, type Sealer, sealerWith } from './secrets/sealer.js';

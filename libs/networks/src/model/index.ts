export * from './addresses.js';
export * as checks from './checks.js';
export { bridgeKeys } from './bridge.keys.js';
export * from './bridge-config.js';
export { macvlanKeys } from './macvlan.keys.js';
export * from './network-config.js';
export * from './types.js';

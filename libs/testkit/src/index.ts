export * from './each-adapter.js';
export * from './memory-replica.js';
export * from './network-contract.js';
export * from './storage-contract.js';

export * from './each-adapter.js';
export * from './memory-replica.js';
export * from './storage-contract.js';

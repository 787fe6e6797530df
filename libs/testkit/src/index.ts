export * from './memory-replica.js';
export * from './storage-contract.js';

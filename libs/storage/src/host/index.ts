export * from './driver.js';
export { copyTree, removeTree, treeTimeoutMs, type CopyOptions } from './files.js';
export type { PoolWarnings } from './pools.js';
export * from './registry.js';
export * from './storage-agent.js';
export * from './storage-host.js';

export * from './driver.js';
export { copyTree, removeTree, treeTimeoutMs, type CopyOptions } from './files.js';
export * from './registry.js';
export * from './scheduled-volumes.js';
export * from './storage-agent.js';
export * from './storage-host.js';

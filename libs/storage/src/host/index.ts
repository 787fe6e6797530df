export * from './driver.js';
export * from './registry.js';
export * from './storage-host.js';

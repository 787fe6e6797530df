export * from './backup-index.js';
export * from './compression.js';
export * from './copy.js';
export * from './names.js';

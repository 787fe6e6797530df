export * from './backup-index.js';
export * from './copy.js';
export * from './names.js';

export * from './checks.js';
export * from './drivers.js';
export * from './layout.js';
export * from './names.js';
export * from './snapshot-names.js';
export * from './volumes.js';

export * from './features.js';
export * from './keys.js';
export * from './names.js';

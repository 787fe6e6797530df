export * from './local-store.js';
export * from './ports.js';

export * from './operation-id.js';
export * from './operation-states.js';

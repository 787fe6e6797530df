export * from './run.js';
export * from './views.js';

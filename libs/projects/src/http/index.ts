export * from './projects.controller.js';
export * from './usage.js';

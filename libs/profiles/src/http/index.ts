export * from './profiles.controller.js';
export * from './rules.js';

export * from './member-warnings.js';

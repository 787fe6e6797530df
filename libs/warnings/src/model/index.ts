export * from './warning-types.js';

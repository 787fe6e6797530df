export * from './define-keys.js';

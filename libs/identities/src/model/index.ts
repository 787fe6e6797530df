export * from './attempts.js';
export * from './certificates.js';
export * from './passwords.js';
export * from './tokens.js';

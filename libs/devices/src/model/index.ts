export * from './device-keys.js';
export * from './nics.js';
export * from './validate.js';

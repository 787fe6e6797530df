export * from './address.js';
export * from './config.js';
export * from './expiry.js';
export * from './keys.js';
export * from './listen-addresses.js';

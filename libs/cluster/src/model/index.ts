export * from './link.js';
export * from './member-keys.js';
export * from './names.js';
export * from './roles.js';

export * from './columns.js';
export * from './command.js';

export * from './merge.js';
export * from './names.js';

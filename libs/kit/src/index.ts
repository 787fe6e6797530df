export * from './assert.js';
export * from './clock.js';
export * from './fault.js';
export * from './fault-point.js';
export * from './keyed-locks.js';
export * from './log.js';
export * from './sizes.js';
export * from './undo.js';

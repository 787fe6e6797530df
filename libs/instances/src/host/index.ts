export * from './agent.js';
export type { Creation } from './lifecycle.js';
export type { HeldAction, LockedAction } from './action-locks.js';
export type * from './driver.js';
export type * from './ports.js';

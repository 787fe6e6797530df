/** The door of raft-ts: consensus as a pure library. Start with the head of types.ts. */
export * from './types.js';
export { RaftNode } from './node.js';
export { MemoryStorage } from './memory-storage.js';
export { defaultLimits, defaultTimers } from './defaults.js';
export { changed, isJoint, isVoter, membersOf, noConfiguration } from './configuration.js';
export { rules, type Rules } from './rules.js';

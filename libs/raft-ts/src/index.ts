/** The door of raft-ts: consensus as a pure library. Start with the head of types.ts. */
export * from './types.js';

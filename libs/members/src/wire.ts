/** The messages between engines and nothing else: the worker that speaks them loads no more than it needs. */
export { Done } from './generated/common.js';
export * from './generated/engine.js';
export * from './generated/raft.js';

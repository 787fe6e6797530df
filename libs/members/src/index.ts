export * from './accept-websocket.js';
export * from './calls.js';
export * from './context.js';
export { DirectMembers, type DirectMembersOptions } from './direct/direct-members.js';
export * from './generated/index.js';
export { type ProcessRole, SplitMembers, type SplitMembersOptions } from './grpc/split-members.js';
export * from './host-context.js';
export * from './streams.js';

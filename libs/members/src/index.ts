export * from './accept-websocket.js';
export * from './calls.js';
export * from './context.js';
export { DirectMembers, type DirectMembersOptions } from './direct/direct-members.js';
export * from './generated/index.js';
export * from './host-context.js';
export { RemoteMembers, type RemoteMembersOptions } from './remote/remote-members.js';
export { Services } from './services.js';
export * from './streams.js';

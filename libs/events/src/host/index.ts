export * from './event-hub.js';
export * from './lifecycle-bridge.js';
export { MemberEventHub, type MemberEventHubOptions } from './member-event-hub.js';

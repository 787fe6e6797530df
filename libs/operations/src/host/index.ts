export { serveOperations } from './operations-agent.js';
export { MemberOperations, type MemberOperationsOptions } from './member-operations.js';
export type { OperationRecord } from './operation-history.js';
export type * from './operations.js';

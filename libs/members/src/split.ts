/** The door for members whose services are processes of their own: gRPC is loaded only by who opens it. */
export { type ProcessRole, SplitMembers, type SplitMembersOptions } from './grpc/split-members.js';

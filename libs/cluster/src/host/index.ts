export { ClusterHost } from './cluster-host.js';
export { ClusterIdentity } from './cluster-identity.js';
export type { ClusterHooks, ClusterListeners, ClusterParts } from './cluster-parts.js';
export { splitAddress, streamFromMember, tlsOptions, type MemberTls } from './call-member.js';
export { Membership } from './membership.js';
export { NetworkStore } from './network-store.js';

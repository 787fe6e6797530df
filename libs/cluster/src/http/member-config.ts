import type { Reader } from '#replica/state';

/** Nest token of a MemberConfigSource. */
export const MEMBER_CONFIG = Symbol('member-config');

export interface MemberConfigDocument {
  entity: 'storage-pool' | 'network';
  name: string;
  key: string;
  value: string;
  description: string;
}

/** The keys that a joiner may give for itself, of pools and networks, which stand above the cluster; the gateway brings it. */
export type MemberConfigSource = (reader: Reader) => MemberConfigDocument[];

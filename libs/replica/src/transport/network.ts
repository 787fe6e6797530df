import type { MemberId } from '#raft-ts';

/** What a member needs to speak to the others, and they to it. Changes while it runs. */
export interface EngineNetwork {
  /** The cluster's key pair, PEM: every member shows it, and trusts it alone. Absent: this member has no peers. */
  readonly credentials?: { readonly certificate: string; readonly key: string };
  /** Where the others are reached, `host:port`. This member may be among them. */
  readonly peers: readonly { readonly id: MemberId; readonly address: string }[];
}

/** The name by which the one port of a member knows what is for its engine. */
export const engineServerName = 'engine.muster';

import type { EventHub } from '#events/host';
import type { KeyPair } from '#identities/host';
import type { CallContext, HostContext, MemberConfigKey } from '#members';
import type { Operations } from '#operations/host';
import type { MemberReplica } from '#replica';
import type { Reader } from '#replica/state';
import type { MemberConfigStore } from '#server/host';
import type { ClusterIdentity } from './cluster-identity.js';
import type { Membership } from './membership.js';
import type { NetworkStore } from './network-store.js';

/** What the gateway of this process does for the cluster. */
export interface ClusterListeners {
  useCertificate(pair: KeyPair): void;
  /** Of core.https_address. */
  listenHttps(address: string): Promise<void>;
  /** Of cluster.https_address, when it is another. */
  listenCluster(address: string): Promise<void>;
}

/** What higher subjects do when this member comes into a cluster, leaves it, or is emptied. */
export interface ClusterHooks {
  /** @throws Fault invalid if this server holds something that would be lost by joining */
  checkEmpty(reader: Reader): void;
  /** Makes the cluster's pools and networks on this member. */
  realise(config: readonly MemberConfigKey[], call: CallContext): Promise<void>;
  /** What this member has of pools goes. Nothing lies there any more. */
  dismantle(): Promise<void>;
  /** Stops what runs here, or moves it; tells its progress. */
  evacuate(mode: string, call: CallContext, progress: (text: string) => void): Promise<void>;
  restore(call: CallContext, progress: (text: string) => void): Promise<void>;
}

/** What the pieces of the host wing share. */
export interface ClusterParts {
  readonly context: HostContext;
  readonly replica: MemberReplica;
  readonly membership: Membership;
  readonly identity: ClusterIdentity;
  readonly store: NetworkStore;
  readonly operations: Operations;
  readonly events: EventHub;
  readonly config: MemberConfigStore;
  readonly hooks: ClusterHooks;
  readonly listeners: () => ClusterListeners;
  /** What a join may take on its way before its clock counts as wrong. */
  readonly joinSlackMs: number;
}

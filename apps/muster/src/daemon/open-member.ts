import { listenForEngine } from '#apps/api-gateway';
import { schema } from '#apps/member-agent';
import { type ClusterIdentity, Membership, type NetworkStore } from '#cluster/host';
import type { Logger } from '#kit';
import { Services } from '#members';
import { type EngineNetwork, type LocalStore, type MemberReplica, openReplica } from '#replica';
import { MemberConfigStore } from '#server/host';

export interface OpenMemberOptions {
  stateDir: string;
  log: Logger;
  local: LocalStore;
  identity: ClusterIdentity;
  /** Its peers, as this member last knew them; none when it stands alone. */
  store: NetworkStore;
}

export interface OpenMember {
  replica: MemberReplica;
  membership: Membership;
  services: Services;
  /** Before the gateway listens where consensus has been reached so far. */
  endEarly(): Promise<void>;
}

/**
 * The replica, and who is in it. A member of a cluster is reached by the others' engines from before its own is open: without a majority it would wait for
 * them, and they for it.
 */
export async function openMember({ stateDir, log, local, identity, store }: OpenMemberOptions): Promise<OpenMember> {
  const peers = store.read();
  const worker = new URL('../../../member-agent/src/engine-worker.js', import.meta.url);
  const network: EngineNetwork = { ...(identity.clusterPair ? { credentials: identity.clusterPair } : {}), peers };
  const waiting: number[] = [];
  let engine = (fd: number): unknown => waiting.push(fd);
  const address = new MemberConfigStore(local).read()['cluster.https_address'] ?? '';
  const early =
    peers.length > 1 && address !== ''
      ? await listenForEngine(address, { wanted: () => true, engine: (fd) => engine(fd), services: (socket) => socket.destroy() })
      : undefined;
  const replica = await openReplica({
    stateDir,
    wings: schema,
    worker,
    log,
    network,
    opened(opening) {
      engine = (fd) => opening.accept(fd);
      for (const fd of waiting.splice(0)) opening.accept(fd);
    },
  });
  const { member } = await replica.status();
  const membership = new Membership(replica, member.id);
  if (peers.length > 0 && !membership.clustered) {
    // It ended on its way into a cluster, or out of one: its database says that it stands alone.
    log.warn({}, 'found what is left of a cluster that this server is no member of');
    identity.drop();
    store.write([]);
    replica.configure({ peers: [] });
  }
  return { replica, membership, services: new Services(), endEarly: async () => early?.() };
}

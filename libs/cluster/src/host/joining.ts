import os from 'node:os';
import { decodeToken } from '#identities/model';
import { fault, Undo } from '#kit';
import type { AdmitReply, CallContext, JoinClusterRequest } from '#members';
import { installClusterKey } from '#replica';
import { internalIdentity } from '#replica/state';
import { checkMemberName } from '../model/index.js';
import { memberJoined } from '../state/index.js';
import { callMember, certificateAt, type MemberTls } from './call-member.js';
import type { ClusterParts } from './cluster-parts.js';

const callMs = 30_000;
const beginMs = 30_000;
/** Routes of a member's gateway for one that is not a member yet. */
export const admitPath = '/internal/cluster/admit';
export const withdrawPath = '/internal/cluster/withdraw';

/** The joiner's side: every step is taken back if a later one fails, so that both sides are as they were. */
export class Joining {
  constructor(private readonly parts: ClusterParts) {}

  /** What can be said before anything is done. @throws Fault invalid */
  check(request: JoinClusterRequest): void {
    const { membership, hooks, replica } = this.parts;
    checkMemberName(request.serverName);
    const token = decodeToken(request.clusterPassword);
    if (request.clusterCertificate === '' && token?.kind !== 'join') throw fault.invalid('No target cluster member certificate provided');
    if (membership.clustered) throw fault.invalid('This server is already clustered');
    if (request.serverAddress === '') throw fault.invalid('No server address provided for this member');
    hooks.checkEmpty(replica.reader);
  }

  async join(request: JoinClusterRequest, call: CallContext): Promise<void> {
    const { context, replica, membership, identity, store, hooks } = this.parts;
    await using undo = new Undo(context.log);
    const address = withPort(request.serverAddress);
    await this.#listen(address, undo);
    const { at, pinned } = await this.#reach(request);
    const admitted = await this.#ask(at, pinned, { ...request, serverAddress: address });
    const pair = { certificate: admitted.certificate, key: admitted.key };
    const known: MemberTls = { pinned: admitted.certificate, ...pair };
    undo.add('membership', () => this.#withdraw(at, known, admitted.member));

    identity.adopt(pair);
    this.parts.listeners().useCertificate(pair);
    undo.add('certificate', () => {
      identity.drop();
      this.parts.listeners().useCertificate(identity.pair);
    });
    if (admitted.secretsKey.length > 0) installClusterKey(context.server.stateDir, admitted.secretsKey);
    store.write(admitted.peers);
    undo.add('peers', () => store.write([]));

    const standing = { member: membership.selfId };
    await replica.begin({ cluster: admitted.cluster, member: admitted.member }, { credentials: pair, peers: admitted.peers }, beginMs);
    membership.selfId = admitted.member;
    membership.forget();
    undo.add('database', async () => {
      await replica.begin(standing, { peers: [] }, beginMs);
      membership.selfId = standing.member;
      membership.forget();
    });
    await replica.barrier();
    await hooks.realise(request.memberConfig, call);
    await replica.submit(memberJoined, { id: admitted.member }, { identity: internalIdentity, requestId: call.requestId });
    undo.drop();
  }

  /** Consensus reaches this member at that address before it is asked to. */
  async #listen(address: string, undo: Undo): Promise<void> {
    const { config } = this.parts;
    const before = config.read();
    const core = before['core.https_address'] ?? '';
    const listeners = this.parts.listeners();
    if (core === '') {
      await listeners.listenHttps(address);
      undo.add('listener', () => listeners.listenHttps(''));
    } else {
      await listeners.listenCluster(address);
      undo.add('listener', () => listeners.listenCluster(''));
    }
    config.replace({ ...before, 'core.https_address': core || address, 'cluster.https_address': address });
    undo.add('addresses', () => config.replace(before));
  }

  /** The first of the cluster's addresses that answers with the right certificate. */
  async #reach({ clusterAddress, clusterCertificate, clusterPassword }: JoinClusterRequest): Promise<{ at: string; pinned: string }> {
    if (clusterCertificate !== '' && clusterAddress !== '') return { at: withPort(clusterAddress), pinned: clusterCertificate };
    const token = decodeToken(clusterPassword)?.token;
    if (!token) throw fault.invalid('No cluster address provided');
    let last: unknown;
    for (const at of [...(clusterAddress ? [withPort(clusterAddress)] : []), ...token.addresses]) {
      try {
        return { at, pinned: await certificateAt(at, token.fingerprint, callMs) };
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #ask(at: string, pinned: string, { serverName, serverAddress, clusterPassword }: JoinClusterRequest): Promise<AdmitReply> {
    const body = {
      server_name: serverName,
      server_address: serverAddress,
      architecture: os.machine(),
      password: clusterPassword,
      now: this.parts.context.clock.now().toISOString(),
    };
    const answer = (await callMember(at, { method: 'POST', path: admitPath, body, tls: { pinned }, timeoutMs: callMs })) as {
      member: number;
      cluster: string;
      certificate: string;
      key: string;
      secrets_key: string;
      peers: { id: number; address: string }[];
    };
    const { secrets_key, ...rest } = answer;
    return { ...rest, secretsKey: Buffer.from(secrets_key, 'base64') };
  }

  async #withdraw(at: string, tls: MemberTls, id: number): Promise<void> {
    await callMember(at, { method: 'POST', path: withdrawPath, body: { id }, tls, timeoutMs: callMs });
  }
}

/** LXD's default port where none is given. */
export const withPort = (address: string): string => (/:\d+$/.test(address) && !/^[^[].*:.*:/.test(address) ? address : `${address}:8443`);

import { randomBytes } from 'node:crypto';
import os from 'node:os';
import type { Operation } from '#api-contract';
import { publishLifecycle } from '#events/host';
import { selfSigned, type KeyPair } from '#identities/host';
import { fault, Undo } from '#kit';
import { type CallContext, ClusterAgentService, type ChangeMemberStateRequest, type JoinClusterRequest } from '#members';
import { internalIdentity } from '#replica/state';
import { parseExpiry, parseListenAddress } from '#server/model';
import { serverValue } from '#server/state';
import { checkMemberName } from '../model/index.js';
import { enableCluster, member, removeMember, setMemberState } from '../state/index.js';
import { Admission } from './admission.js';
import { callMember } from './call-member.js';
import type { ClusterParts } from './cluster-parts.js';
import { Joining, withPort } from './joining.js';
import { MemberLinks } from './member-links.js';
import { peersOf, RoleKeeper } from './role-keeper.js';

const cleanupMs = 10_000;
const beginMs = 30_000;

/** This member's part in the cluster: how it comes in, what it shows and tells the others, how it leaves. */
export class ClusterHost {
  readonly links: MemberLinks;
  readonly #keeper: RoleKeeper;
  readonly #admission: Admission;
  readonly #joining: Joining;
  #watch: Disposable | undefined;

  constructor(private readonly parts: ClusterParts) {
    const { context, membership, events, identity, replica } = parts;
    const { clock, members } = context;
    const log = context.log.child({ subject: 'cluster' });
    this.links = new MemberLinks({ membership, events, clock, log, tls: () => identity.tls });
    this.#keeper = new RoleKeeper({ replica, membership, clock, log });
    this.#admission = new Admission(parts);
    this.#joining = new Joining(parts);
    members.serve(ClusterAgentService, {
      enable: async ({ serverName }, call) => ({ operation: this.#enable(serverName, call) }),
      join: async (request, call) => ({ operation: this.#join(request, call) }),
      leave: async () => {
        await this.#leave();
        return {};
      },
      issueToken: async ({ serverName }, call) => ({ operation: await this.#issueToken(serverName, call) }),
      admit: (request, call) => this.#admission.admit(request, call),
      remove: async ({ name, force, id }, call) => {
        await this.#remove(name, force, id, call);
        return {};
      },
      dismantle: async () => {
        await parts.hooks.dismantle();
        return {};
      },
      changeState: async (request, call) => ({ operation: this.#changeState(request, call) }),
      useCertificate: async (pair) => {
        this.#useCertificate(pair);
        return {};
      },
      beliefs: async () => this.#beliefs(),
    });
  }

  start(): Promise<void> {
    this.#watch = this.parts.membership.onChange(() => this.#changed());
    this.#changed();
    this.links.start();
    this.#keeper.start();
    return Promise.resolve();
  }

  stop(): void {
    this.#watch?.[Symbol.dispose]();
    this.links.stop();
    this.#keeper.stop();
  }

  /** Members came, left or moved: consensus and links follow, and the next start will know. */
  #changed(): void {
    const { membership, replica, identity, store } = this.parts;
    if (!identity.clusterPair || !membership.clustered) return;
    // Peers are taken from rows that hold this member; before it sees itself there, it goes by what it was told.
    const peers = peersOf(replica);
    if (!peers.some(({ id }) => id === membership.selfId)) return;
    if (JSON.stringify(peers) !== JSON.stringify(store.read())) store.write(peers);
    replica.configure({ credentials: identity.clusterPair, peers });
    this.links.follow();
    void this.#keeper.look();
  }

  #enable(name: string, call: CallContext): Operation {
    const { operations, membership } = this.parts;
    checkMemberName(name);
    if (membership.clustered) throw fault.invalid('This server is already clustered');
    const address = this.#ownAddress();
    return operations.start({
      description: 'Creating bootstrap node',
      project: '',
      resources: { cluster: [] },
      context: call,
      run: () => this.#bootstrap(name, address, call),
    });
  }

  /** cluster.https_address, or core's in its place. @throws Fault invalid */
  #ownAddress(): string {
    const config = this.parts.config.read();
    const core = config['core.https_address'] ?? '';
    const address = config['cluster.https_address'] || core;
    if (address === '') throw fault.invalid('No cluster.https_address config is set on this member');
    const { host } = parseListenAddress(address);
    if (host === '' || host === '0.0.0.0' || host === '::') {
      throw fault.invalid(
        `Cannot use wildcard core.https_address "${core}" for cluster.https_address. Please specify a new cluster.https_address or core.https_address`,
      );
    }
    return withPort(address);
  }

  async #bootstrap(name: string, address: string, call: CallContext): Promise<void> {
    const { context, replica, membership, identity, config } = this.parts;
    await using undo = new Undo(context.log);
    const before = config.read();
    const pair = await selfSigned(name);
    identity.adopt(pair);
    this.parts.listeners().useCertificate(pair);
    undo.add('certificate', () => {
      identity.drop();
      this.parts.listeners().useCertificate(identity.pair);
    });
    const listeners = this.parts.listeners();
    await listeners.listenCluster(address);
    undo.add('listener', () => listeners.listenCluster(''));
    config.replace({ ...before, 'cluster.https_address': address });
    undo.add('addresses', () => config.replace(before));
    const first = { id: membership.selfId, name, address, architecture: os.machine() };
    await replica.submit(enableCluster, first, { identity: call.identity, requestId: call.requestId });
    undo.drop();
    this.#changed();
  }

  #join(request: JoinClusterRequest, call: CallContext): Operation {
    this.#joining.check(request);
    return this.parts.operations.start({
      description: 'Joining cluster',
      project: '',
      resources: { cluster: [] },
      context: call,
      run: async () => {
        await this.#joining.join(request, call);
        this.#changed();
      },
    });
  }

  async #issueToken(serverName: string, call: CallContext): Promise<Operation> {
    const { context, membership, operations, identity, replica, events } = this.parts;
    if (!membership.clustered) throw fault.invalid('This server is not clustered');
    checkMemberName(serverName);
    const expiresAt = parseExpiry(serverValue(replica.reader, 'cluster.join_token_expiry'), context.clock.now());
    const addresses = membership.members.filter(({ id, state }) => state !== 'evacuated' && this.links.alive(id)).map(({ address }) => address);
    if (addresses.length === 0) throw fault.internal('There are no online cluster members');
    // One live token a name: the newest has the newest addresses.
    for (const old of await this.#admission.tokens(call)) {
      if (old.metadata?.serverName === serverName) await this.#admission.cancel(old, call);
    }
    const operation = operations.start({
      description: 'Executing operation',
      class: 'token',
      project: '',
      resources: { cluster: [] },
      mayCancel: true,
      metadata: {
        serverName,
        secret: randomBytes(32).toString('hex'),
        fingerprint: identity.fingerprint,
        addresses,
        expiresAt: expiresAt.toISOString(),
      },
      expiresAt,
      context: call,
    });
    publishLifecycle(events, { action: 'cluster-token-created', source: '/1.0/cluster/members' }, call.identity);
    return operation;
  }

  async #remove(name: string, force: boolean, id: number | undefined, call: CallContext): Promise<void> {
    const { replica, membership, identity } = this.parts;
    const as = { identity: call.identity, requestId: call.requestId };
    if (id !== undefined) {
      await replica.submit(removeMember, { id, name, force }, as);
      return;
    }
    const leaving = member(replica.reader, name);
    const self = leaving.id === membership.selfId;
    // What stands in the way is said before anything is taken away.
    await replica.dryRun(removeMember, { name, force }, as);
    if (!force) await this.parts.context.members.calls(ClusterAgentService, self ? undefined : name).dismantle({}, call);
    if (self && membership.members.length > 1) await replica.transferLeadership();
    await replica.submit(removeMember, { name, force }, as);
    if (self) {
      setImmediate(() => void this.#leave().catch((error: unknown) => this.parts.context.log.error({ err: error }, 'could not leave the cluster')));
      return;
    }
    const tls = identity.tls;
    if (!tls) return;
    try {
      await callMember(leaving.address, { method: 'PUT', path: '/1.0/cluster', body: { enabled: false }, tls, timeoutMs: force ? 2_000 : cleanupMs });
    } catch (error) {
      if (!force) throw fault.internal(`Failed to cleanup the member: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Everything that was the cluster's goes; what stays is a server that stands alone. */
  async #leave(): Promise<void> {
    const { replica, membership, identity, store, config, context } = this.parts;
    await replica.begin({ member: 1 }, { peers: [] }, beginMs);
    membership.selfId = 1;
    membership.forget();
    store.write([]);
    identity.drop();
    this.parts.listeners().useCertificate(identity.pair);
    const { 'cluster.https_address': _, ...rest } = config.read();
    config.replace(rest);
    this.links.follow();
    context.log.info({}, 'left the cluster');
  }

  #useCertificate(pair: KeyPair): void {
    this.parts.identity.adopt(pair);
    this.parts.listeners().useCertificate(pair);
    this.#changed();
  }

  #changeState({ name, action, mode }: ChangeMemberStateRequest, call: CallContext): Operation {
    const { operations, hooks, replica, context } = this.parts;
    const as = { identity: call.identity, requestId: call.requestId };
    const evacuates = action === 'evacuate';
    member(replica.reader, name);
    return operations.start({
      description: evacuates ? 'Evacuating cluster member' : 'Restoring cluster member',
      project: '',
      context: call,
      run: async (operation) => {
        const [after, before] = evacuates ? (['evacuated', 'created'] as const) : (['created', 'evacuated'] as const);
        await using undo = new Undo(context.log);
        await replica.submit(setMemberState, { name, state: after }, as);
        undo.add('state', () => replica.submit(setMemberState, { name, state: before }, { identity: internalIdentity }));
        const progress = (text: string): void => operation.update({ evacuation_progress: text });
        await (evacuates ? hooks.evacuate(mode, call, progress) : hooks.restore(call, progress));
        undo.drop();
      },
    });
  }

  async #beliefs() {
    const { membership, replica } = this.parts;
    const { leader } = await replica.status();
    return {
      leader: (leader !== undefined && membership.byId(leader)?.name) || '',
      members: membership.members.map(({ id, name }) => ({ name, alive: this.links.alive(id), silentMs: Math.round(this.links.silentMs(id)) })),
    };
  }
}

/** The node: takes each input to the part it is for. The contract stands in types.ts. */
import { assert } from '#kit/assert';
import { changed } from './configuration.js';
import { Core } from './core.js';
import { Election } from './election.js';
import { onAppend, onHeartbeat } from './follower.js';
import { Identities } from './identities.js';
import { Outlet } from './outlet.js';
import { ReadForwards } from './read-forwards.js';
import { SnapshotReceiver } from './snapshot-receiver.js';
import { statusOf } from './status.js';
import type {
  ConfigurationChange,
  MemberId,
  Message,
  PersistedUpTo,
  Position,
  ProposeConfigurationResult,
  ProposeRefusal,
  ProposeResult,
  Raft,
  RaftOptions,
  RaftStatus,
  Ready,
  SnapshotMeta,
} from './types.js';

export class RaftNode implements Raft {
  private readonly core: Core;
  private readonly election: Election;
  private readonly identities: Identities;
  private readonly forwards: ReadForwards;
  private readonly receiver: SnapshotReceiver;
  private readonly outlet: Outlet;
  private lastRealMs: number | undefined;
  private wasLate = false;

  constructor(options: RaftOptions) {
    assert(options.identity.boots.length > 0, 'a start has a boot nonce');
    const core = new Core(options);
    assert(core.log.applied <= core.log.lastIndex, 'a replica is never ahead of its log');
    this.core = core;
    this.receiver = new SnapshotReceiver(core, options.partialSnapshot);
    this.election = new Election(core, () => this.receiver.lacksSnapshot);
    this.identities = new Identities(core, options.peerBoots ?? {});
    this.forwards = new ReadForwards(core);
    this.outlet = new Outlet(core, this.receiver, this.identities, this.forwards, options.hardState);
    if (core.mayLeadAtOnce) this.election.campaign();
  }

  // — Input —

  tick(nowMs: number, realMs?: number): void {
    const { core } = this;
    this.advance(nowMs);
    const sinceTick = core.nowMs - core.lastTickMs;
    const jump = realMs !== undefined && this.lastRealMs !== undefined ? realMs - this.lastRealMs - sinceTick : 0;
    this.lastRealMs = realMs;
    core.lastTickMs = core.nowMs;
    if (!core.rules.clockIsSteady(sinceTick, core.timers.tickGapMs, jump, core.timers.clockJumpMs)) core.office?.dropLease();
    // What came in during a pause is looked at first; but on a machine where every tick is late, time must still pass.
    const late = sinceTick > core.timers.tickGapMs && !this.wasLate;
    this.wasLate = late;
    core.office?.tick(late);
    if (!late) this.election.tick();
    this.forwards.tick();
    this.receiver.tick();
  }

  step(message: Message, nowMs: number): void {
    this.advance(nowMs);
    if (!this.identities.accepts(message)) return;
    switch (message.type) {
      case 'hello':
        return this.core.office?.peerStarted(message.from, message.last.index);
      case 'who':
        return this.identities.introduce(message.from);
      case 'refused':
        return this.identities.onRefused(message);
    }
    if (this.settleTerm(message)) this.dispatch(message);
  }

  propose(data: Uint8Array, at: Position): ProposeResult {
    const refused = this.refusal(at);
    if (refused) return { refused };
    this.core.office!.propose('normal', data);
    return 'ok';
  }

  proposeConfiguration(change: ConfigurationChange, data: Uint8Array, at: Position): ProposeConfigurationResult {
    const { core } = this;
    const refused = this.refusal(at);
    if (refused) return { refused };
    // Without an entry of the own term committed, a single-step change could act on a configuration that another leader never saw (§4.1).
    if (core.configurations.inForceIndex > core.log.applied || !core.knowsCommit) return { refused: 'pending' };
    const configuration = changed(core.configurations.inForce, change);
    if ('why' in configuration) return { refused: 'invalid', why: configuration.why };
    core.office!.propose('configuration', data, configuration);
    return 'ok';
  }

  nextPlace(): Position | undefined {
    const { core } = this;
    return core.office && { term: core.term, index: core.log.lastIndex + 1 };
  }

  readIndex(context: number, nowMs: number): void {
    this.advance(nowMs);
    if (this.core.office) this.core.office.askRead(this.core.id, context, this.core.boot);
    else this.forwards.ask(context);
  }

  transferLeadership(nowMs: number, to?: MemberId): boolean {
    this.advance(nowMs);
    return this.core.office?.handOver.begin(to) ?? false;
  }

  requestSnapshot(minIndex: number): void {
    this.election.withdraw();
    this.receiver.request(minIndex);
  }

  setPromotable(yes: boolean, nowMs: number): void {
    this.advance(nowMs);
    this.core.promotable = yes;
    if (!yes) this.election.withdraw();
    else if (this.core.mayLeadAtOnce && !this.core.office) this.election.campaign();
  }

  expectCommit(id: MemberId, index: number): void {
    this.core.office?.expectCommit(id, index);
  }

  peerUnreachable(id: MemberId, nowMs: number): void {
    this.advance(nowMs);
    const { core } = this;
    core.office?.peerUnreachable(id);
    if (id === core.leader) core.electionAtMs = Math.min(core.electionAtMs, core.promiseUntilMs);
  }

  logWriteTook(durationMs: number, nowMs: number): void {
    this.advance(nowMs);
    this.core.office?.handOver.logWriteTook(durationMs);
  }

  persisted(upTo: PersistedUpTo): void {
    const hardState = this.outlet.persisted(upTo.ready);
    if (!hardState) return;
    this.election.durable(hardState);
    this.core.office?.maybeCommit();
  }

  applied(index: number): void {
    const { log, configurations } = this.core;
    assert(index <= log.delivered, 'only what was handed out is applied');
    log.applied = index;
    configurations.appliedTo(index);
    this.receiver.applied(index);
  }

  snapshotReceived(meta: SnapshotMeta, ok: boolean): void {
    this.receiver.received(meta, ok);
  }

  // — Output —

  hasReady(): boolean {
    return this.outlet.hasReady();
  }

  ready(): Ready {
    return this.outlet.ready();
  }

  pinnedIndex(): number | undefined {
    let pinned: number | undefined;
    for (const { transfer } of this.core.office?.peers.values() ?? []) {
      if (transfer) pinned = Math.min(pinned ?? Infinity, transfer.meta.index + 1);
    }
    return pinned;
  }

  status(): RaftStatus {
    return statusOf(this.core);
  }

  // — Inside —

  private advance(nowMs: number): void {
    if (nowMs > this.core.nowMs) this.core.nowMs = nowMs;
  }

  private refusal(at: Position): ProposeRefusal | undefined {
    const { office, term, log } = this.core;
    if (!office) return 'not-leader';
    if (office.handOver.to !== undefined) return 'transferring';
    if (at.term !== term || at.index !== log.lastIndex + 1) return 'place';
    return office.isFull ? 'full' : undefined;
  }

  /** Makes the message's term and this member's the same, or says that the message counts for nothing. */
  private settleTerm(message: Message): boolean {
    const { core } = this;
    const fromLeader = message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot-chunk';
    if (message.term > core.term) {
      if (message.type === 'pre-vote' || (message.type === 'pre-vote-answer' && message.granted)) return true;
      if (message.type === 'vote' && !this.election.mayHearVote(message)) return false;
      core.follow(message.term, fromLeader ? message.from : undefined);
    } else if (message.term < core.term) {
      // Whoever lags behind learns the term, so that it can give way or ask again.
      if (fromLeader) core.send(message.from, { type: 'heartbeat-ack', round: 0 });
      else if (message.type === 'pre-vote') core.send(message.from, { type: 'pre-vote-answer', granted: false });
      else if (message.type === 'vote') core.send(message.from, { type: 'vote-answer', granted: false });
      return false;
    }
    if (fromLeader) {
      assert(!core.office, 'there is one leader in a term');
      core.heardLeader(message.from);
    }
    return true;
  }

  private dispatch(message: Message): void {
    const { core } = this;
    switch (message.type) {
      case 'append':
        return onAppend(core, message);
      case 'heartbeat':
        return onHeartbeat(core, message);
      case 'snapshot-chunk':
        return this.receiver.onChunk(message);
      case 'append-ack':
        return core.office?.onAppendAck(message);
      case 'append-refused':
        return core.office?.onAppendRefused(message);
      case 'heartbeat-ack':
        return core.office?.onHeartbeatAck(message);
      case 'snapshot-ack':
        return core.office?.onSnapshotAck(message);
      case 'snapshot-request':
        return core.office?.onSnapshotRequest(message);
      case 'pre-vote':
        return this.election.onPreVote(message);
      case 'vote':
        return this.election.mayHearVote(message) ? this.election.onVote(message) : undefined;
      case 'pre-vote-answer':
      case 'vote-answer':
        return this.election.onAnswer(message);
      case 'timeout-now':
        return this.election.onTimeoutNow(message);
      case 'read-index':
        return core.office?.askRead(message.from, message.id, message.boot);
      case 'read-index-answer':
        return this.forwards.onAnswer(message);
    }
  }
}

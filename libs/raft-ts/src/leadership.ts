/**
 * A term of office: what a leader knows of its peers, and what it does with it. Made on winning an election, dropped on leaving.
 * Nothing is sent where something happens; `flush`, once per Ready, sends what has become possible, so that many proposals share a message.
 */
import { membersOf } from './configuration.js';
import type { Core } from './core.js';
import { HandOver } from './handover.js';
import { Lease } from './lease.js';
import { Progress } from './progress.js';
import { reachedByAll } from './quorum.js';
import { ReadRounds } from './read-rounds.js';
import { onSnapshotAck, pumpSnapshot, restartTransfer, snapshotStalled } from './snapshot-sender.js';
import type { Entry, MemberId, Message } from './types.js';

type Of<T extends Message['type']> = Extract<Message, { type: T }>;

/** What an entry costs on its way beside its data, so that many small ones fill the window too. */
const ENTRY_OVERHEAD_BYTES = 64;

export class Leadership {
  readonly peers = new Map<MemberId, Progress>();
  readonly lease: Lease;
  readonly reads: ReadRounds;
  readonly handOver: HandOver;
  private readonly sinceMs: number;
  private nextHeartbeatMs: number;
  /** Something happened that may allow sending. */
  private dirty = true;
  private uncommitted: { readonly index: number; readonly bytes: number }[] = [];
  private uncommittedBytes = 0;

  constructor(private readonly core: Core) {
    this.lease = new Lease(core);
    this.reads = new ReadRounds(core, this.lease);
    this.handOver = new HandOver(core, this.peers, this.lease);
    this.sinceMs = core.nowMs;
    this.nextHeartbeatMs = core.nowMs;
  }

  /** Opens the term with an entry of its own: only with it anything older is committed (thesis §6.4). */
  open(): void {
    this.configurationChanged();
    this.propose('noop', new Uint8Array(0));
  }

  close(): void {
    this.reads.close();
  }

  // — Proposals —

  get isFull(): boolean {
    return this.uncommittedBytes >= this.core.limits.uncommittedBytes;
  }

  propose(type: Entry['type'], data: Uint8Array, configuration?: Entry['configuration']): void {
    const { index } = this.core.appendOwn(type, data, configuration);
    this.uncommitted.push({ index, bytes: data.length });
    this.uncommittedBytes += data.length;
    this.dirty = true;
  }

  /** A configuration was appended: it is in force. */
  configurationChanged(): void {
    const { core } = this;
    const members = new Set(membersOf(core.configurations.inForce));
    members.delete(core.id);
    for (const id of this.peers.keys()) if (!members.has(id)) this.peers.delete(id);
    for (const id of members) {
      // Under a new incarnation a member has nothing of what it acknowledged before.
      const incarnation = core.configurations.inForce.incarnations[id] ?? 0;
      if (this.peers.get(id)?.incarnation !== incarnation) this.peers.set(id, new Progress(id, incarnation, core.log.lastIndex + 1));
    }
    this.handOver.configurationChanged();
    this.dirty = true;
  }

  /** The own disk has more, or a peer has: what a quorum has is committed. */
  maybeCommit(): void {
    const { core } = this;
    const { log } = core;
    const index = reachedByAll(core.majorities, (id) =>
      id === core.id ? core.rules.ownMatch(log.durable, log.lastIndex) : (this.peers.get(id)?.match ?? 0),
    );
    if (index <= log.commit || !core.rules.commitsByCount(log.term(index), core.term)) return;
    log.commitTo(index);
    this.dirty = true;
    let done = 0;
    while (done < this.uncommitted.length && this.uncommitted[done]!.index <= index) this.uncommittedBytes -= this.uncommitted[done++]!.bytes;
    if (done > 0) this.uncommitted.splice(0, done);
  }

  // — Answers —

  onAppendAck(message: Of<'append-ack'>): void {
    const peer = this.heard(message);
    if (!peer || message.index > this.core.log.lastIndex) return;
    const news = peer.acknowledged(message.index, this.core.nowMs);
    if (peer.state === 'snapshot' ? peer.match >= this.core.log.firstIndex - 1 : peer.state === 'probing' && (news || message.index === peer.match)) {
      peer.replicate();
    }
    if (news) this.maybeCommit();
    this.handOver.continue();
    this.dirty = true;
  }

  onAppendRefused(message: Of<'append-refused'>): void {
    const peer = this.heard(message);
    if (!peer || message.index <= peer.match) return;
    if (peer.state === 'probing' ? message.index !== peer.next - 1 : peer.state === 'snapshot') return;
    const agreed = this.core.log.agreesBefore(message.hint);
    peer.probe(Math.min(message.index, agreed.index + 1));
    this.dirty = true;
  }

  onHeartbeatAck(message: Of<'heartbeat-ack'>): void {
    const peer = this.heard(message);
    if (peer?.state !== 'probing' || peer.waitingSinceMs === undefined) return;
    // It is there, but a probe or its answer was lost.
    if (this.core.nowMs - peer.waitingSinceMs >= this.core.timers.heartbeatMs) peer.waitingSinceMs = undefined;
    this.dirty = true;
  }

  onSnapshotAck(message: Of<'snapshot-ack'>): void {
    const peer = this.heard(message);
    if (!peer) return;
    this.dirty = true;
    if (!onSnapshotAck(this.core, peer, message)) return;
    if (message.status === 'done') peer.requestedSnapshot = undefined;
    if (peer.state === 'snapshot') peer.probe(peer.match + 1);
  }

  onSnapshotRequest(message: Of<'snapshot-request'>): void {
    const peer = this.peers.get(message.from);
    if (!peer) return;
    peer.heardMs = this.core.nowMs;
    peer.requestedSnapshot = message.minIndex;
    if (peer.transfer && peer.transfer.meta.index < message.minIndex) peer.transfer = undefined;
    this.dirty = true;
  }

  /** `boot`: of the asker's present start. */
  askRead(origin: MemberId, id: number, boot: string): void {
    this.reads.ask(origin, id, boot);
    this.dirty = true;
  }

  expectCommit(id: MemberId, index: number): void {
    const peer = this.peers.get(id);
    if (!peer) return;
    peer.expects = Math.max(peer.expects, index);
    this.dirty = true;
  }

  /** What that peer has acknowledged, for the check of its start. */
  acknowledged(id: MemberId): number {
    return this.peers.get(id)?.held ?? 0;
  }

  /** A start of that peer was refused. */
  distrust(id: MemberId): void {
    this.peers.get(id)?.forget(this.core.log.lastIndex + 1);
  }

  /** The peer has started again; its log ends at `lastIndex`. */
  peerStarted(id: MemberId, lastIndex: number): void {
    const peer = this.peers.get(id);
    if (!peer) return;
    peer.probe(Math.min(peer.next, lastIndex + 1));
    restartTransfer(peer);
    this.dirty = true;
  }

  peerUnreachable(id: MemberId): void {
    const peer = this.peers.get(id);
    if (peer?.state === 'replicating') peer.probe(peer.match + 1);
  }

  // — Time —

  /** `late`: the inbox may hold what a timer waits for, so none that ends something counts. */
  tick(late: boolean): void {
    const { core } = this;
    const { nowMs, timers } = core;
    this.dirty = true;
    if (!late && this.lostQuorum()) return core.follow(core.term, undefined);
    if (!late) this.handOver.expire();
    for (const peer of this.peers.values()) {
      if (!late && snapshotStalled(core, peer) && peer.state === 'snapshot') peer.probe(peer.match + 1);
      if (peer.state === 'replicating' && peer.waitingSinceMs !== undefined && nowMs - peer.waitingSinceMs >= 2 * timers.resendMs) {
        peer.probe(peer.match + 1);
      }
    }
    if (nowMs >= this.nextHeartbeatMs) {
      this.nextHeartbeatMs = nowMs + timers.heartbeatMs;
      this.sendRound(true);
    }
  }

  /** The clock stumbled. */
  dropLease(): void {
    this.lease.drop(this.reads.current);
  }

  private lostQuorum(): boolean {
    const { core } = this;
    const heard = reachedByAll(core.majorities, (id) => (id === core.id ? core.nowMs : (this.peers.get(id)?.heardMs ?? this.sinceMs)));
    return core.nowMs - Math.max(heard, this.sinceMs) >= core.timers.quorumMs;
  }

  // — Sending —

  /** Sends whatever has become possible. */
  flush(): void {
    if (!this.dirty) return;
    this.dirty = false;
    if (this.reads.wantsRound) this.sendRound(false);
    for (const peer of this.peers.values()) this.pump(peer);
    const { configurations, isVoter, log } = this.core;
    // A leader that removed itself leaves once that is committed (thesis §4.2.2), having told everybody.
    if (!isVoter && configurations.inForceIndex <= log.commit) this.handOver.resign();
  }

  /** Heartbeats: to the voters, whose answers count; with `all` to learners too, and to spares when it is their time. */
  private sendRound(all: boolean): void {
    const { core } = this;
    const { inForce } = core.configurations;
    this.reads.begin();
    for (const peer of this.peers.values()) {
      const votes = inForce.voters.includes(peer.id) || inForce.outgoing.includes(peer.id);
      if (!votes && (!all || core.nowMs < peer.nextHeartbeatMs)) continue;
      peer.nextHeartbeatMs = core.nowMs + (inForce.spares.includes(peer.id) ? core.timers.spareHeartbeatMs : core.timers.heartbeatMs);
      const commit = Math.min(peer.match, core.log.commit);
      peer.sentCommit = Math.max(peer.sentCommit, commit);
      core.send(peer.id, { type: 'heartbeat', commit, round: this.reads.current });
    }
    this.reads.settle(this.peers);
  }

  private pump(peer: Progress): void {
    const { core } = this;
    if (peer.state === 'snapshot' || peer.requestedSnapshot !== undefined) pumpSnapshot(core, peer);
    if (peer.state === 'probing') {
      // The first probe brings entries, as it will mostly fit; one that is repeated brings none, as the peer may be gone.
      const again = peer.waitingSinceMs !== undefined;
      if (again && core.nowMs - peer.waitingSinceMs! < core.timers.resendMs) return;
      peer.waitingSinceMs = core.nowMs;
      this.sendAppend(peer, again);
    }
    while (peer.state === 'replicating' && peer.next <= core.log.lastIndex && peer.inflightBytes < core.limits.inflightBytes) {
      if (!this.sendAppend(peer)) return;
    }
    if (peer.state !== 'replicating' || peer.next <= core.log.lastIndex || peer.sentCommit >= core.log.commit) return;
    if (peer.sentCommit < peer.expects || !core.configurations.inForce.spares.includes(peer.id)) this.sendAppend(peer);
  }

  /** One append from peer.next on, empty if there is nothing. False if the log does not reach back so far. */
  private sendAppend(peer: Progress, empty = false): boolean {
    const { core } = this;
    const { log, limits } = core;
    const index = peer.next - 1;
    const term = log.term(index);
    const maxBytes = core.configurations.inForce.spares.includes(peer.id) ? limits.spareAppendBytes : limits.appendBytes;
    const entries = term === undefined || empty ? [] : log.entries(peer.next, log.lastIndex, maxBytes);
    if (term === undefined || (!empty && entries.length === 0 && peer.next <= log.lastIndex)) {
      peer.needsSnapshot();
      pumpSnapshot(core, peer);
      return false;
    }
    core.send(peer.id, { type: 'append', previous: { term, index }, entries, commit: log.commit, round: this.reads.current });
    peer.sentCommit = log.commit;
    if (peer.state === 'replicating' && entries.length > 0) {
      let bytes = 0;
      for (const entry of entries) bytes += entry.data.length + ENTRY_OVERHEAD_BYTES;
      peer.sent(entries.at(-1)!.index, bytes, core.nowMs);
    }
    return true;
  }

  private heard(message: Message): Progress | undefined {
    const peer = this.peers.get(message.from);
    if (!peer) return undefined;
    peer.heardMs = this.core.nowMs;
    if ('round' in message && message.round > peer.round) {
      peer.round = message.round;
      this.reads.settle(this.peers);
      this.dirty = true;
    }
    return peer;
  }
}

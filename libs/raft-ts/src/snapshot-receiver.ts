/**
 * Snapshots at the member that gets one: chunks are taken in order, the host writes them and checks the whole, and then it is installed, if it
 * is still wanted: in place of log and state machine when the log is behind it, or of a state machine alone that asked for one.
 */
import type { Core } from './core.js';
import type { MemberId, Message, SnapshotChunk, SnapshotInstall, SnapshotMeta } from './types.js';

type ChunkMessage = Extract<Message, { type: 'snapshot-chunk' }>;

const same = (a: SnapshotMeta, b: SnapshotMeta): boolean => a.index === b.index && a.hash === b.hash;

export class SnapshotReceiver {
  private receiving: { readonly meta: SnapshotMeta; from: MemberId | undefined; received: number; whole: boolean } | undefined;
  private chunks: SnapshotChunk[] = [];
  private install: SnapshotInstall | undefined;
  /** Installed in the log, not yet in the state machine. */
  private awaiting: number | undefined;
  /** The state machine needs a snapshot of at least this index. */
  private requested: number | undefined;
  private requestedMs: number | undefined;

  constructor(
    private readonly core: Core,
    partial: { readonly meta: SnapshotMeta; readonly receivedBytes: number } | undefined,
  ) {
    if (partial) this.receiving = { meta: partial.meta, from: undefined, received: partial.receivedBytes, whole: false };
    // Compacted by a state that was not durable, or a snapshot whose installation was cut short: the log cannot bring this replica forward.
    if (core.log.applied < core.log.firstIndex - 1) this.requested = core.log.firstIndex - 1;
  }

  /** The state machine is not what the log says until a snapshot is in. */
  get lacksSnapshot(): boolean {
    return this.requested !== undefined || this.awaiting !== undefined;
  }

  get hasOutput(): boolean {
    return this.chunks.length > 0 || this.install !== undefined;
  }

  takeChunk(): SnapshotChunk | undefined {
    return this.chunks.shift();
  }

  takeInstall(): SnapshotInstall | undefined {
    const { install } = this;
    this.install = undefined;
    return install;
  }

  request(minIndex: number): void {
    this.requested = minIndex;
    this.requestedMs = undefined;
    this.askLeader();
  }

  tick(): void {
    this.askLeader();
  }

  applied(index: number): void {
    if (index === this.awaiting) this.awaiting = undefined;
  }

  onChunk(message: ChunkMessage): void {
    const { core } = this;
    const { meta, offset, data, from } = message;
    // One at a time: while one is checked or installed the host has its hands full, and the leader will send this again.
    if (this.awaiting !== undefined || (this.receiving?.whole && !same(this.receiving.meta, meta))) return;
    if (!this.isWanted(meta)) return this.decline(meta, from);
    if (!this.receiving || !same(this.receiving.meta, meta)) {
      this.receiving = { meta, from, received: 0, whole: false };
      this.chunks = [];
    }
    const { receiving } = this;
    receiving.from = from;
    if (offset === receiving.received && data.length > 0) {
      receiving.received += data.length;
      receiving.whole = receiving.received === meta.sizeBytes;
      this.chunks.push({ from, meta, offset, data, last: receiving.whole });
    } else if (receiving.received === meta.sizeBytes && !receiving.whole) {
      // An empty snapshot, or one that was whole before a restart cut its check short.
      receiving.whole = true;
      this.chunks.push({ from, meta, offset: receiving.received, data: new Uint8Array(0), last: true });
    }
    this.acknowledge(meta, from, 'more', receiving.received);
    core.postponeElection();
  }

  /** The host has checked the whole file. */
  received(meta: SnapshotMeta, ok: boolean): void {
    const { core, receiving } = this;
    if (!receiving || !same(receiving.meta, meta)) return;
    this.receiving = undefined;
    const from = receiving.from ?? core.leader;
    if (!ok) {
      if (from !== undefined) this.acknowledge(meta, from, 'bad', 0);
      return;
    }
    if (this.isWanted(meta)) this.begin(meta);
    if (from !== undefined) this.decline(meta, from);
  }

  private begin(meta: SnapshotMeta): void {
    const { log, configurations } = this.core;
    const replaces = log.term(meta.index) === meta.term ? 'state-machine' : 'everything';
    if (replaces === 'everything') {
      log.restore(meta);
      configurations.reset(meta.index, meta.configuration);
    } else {
      log.commitTo(meta.index);
      log.deliveredTo(meta.index);
      configurations.rebase(meta.index, meta.configuration);
    }
    this.install = { meta, replaces };
    this.awaiting = meta.index;
    this.requested = undefined;
  }

  private isWanted(meta: SnapshotMeta): boolean {
    const { log, rules } = this.core;
    if (this.requested !== undefined && meta.index >= this.neededIndex) return true;
    if (log.term(meta.index) === meta.term) {
      log.commitTo(meta.index); // A snapshot holds only what is committed; the log has it already.
      return false;
    }
    return rules.snapshotReplacesLog(meta.index, log.commit);
  }

  /** What was asked for, and no less than where the log begins by now: it must go on from there. */
  private get neededIndex(): number {
    return Math.max(this.requested ?? 0, this.core.log.firstIndex - 1);
  }

  private decline(meta: SnapshotMeta, to: MemberId): void {
    // In this order: the leader must know where the log stands before it thinks about what to send next.
    this.core.send(to, { type: 'append-ack', index: this.core.log.commit, round: 0 });
    this.acknowledge(meta, to, 'done', meta.sizeBytes);
  }

  private acknowledge(meta: SnapshotMeta, to: MemberId, status: 'more' | 'done' | 'bad', receivedBytes: number): void {
    this.core.send(to, { type: 'snapshot-ack', index: meta.index, hash: meta.hash, receivedBytes, status });
  }

  private askLeader(): void {
    const { core } = this;
    if (this.requested === undefined || core.leader === undefined || core.leader === core.id) return;
    if (this.requestedMs !== undefined && core.nowMs - this.requestedMs < core.timers.electionMaxMs) return;
    this.requestedMs = core.nowMs;
    core.send(core.leader, { type: 'snapshot-request', minIndex: this.neededIndex });
  }
}

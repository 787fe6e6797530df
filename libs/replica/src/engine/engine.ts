import { Fault, fault, type Logger } from '#kit';
import type { Entry, MemberId, Position, RaftNode, RaftRole, Refusal, RefusalReason } from '#raft-ts';
import type { TableChanges } from '../codec/changeset.js';
import { NoSpace } from '../disk/disk.js';
import type { Log } from '../log/log.js';
import type { Applied, ReplicaStatus } from '../ports.js';
import type { Command } from '../state/command.js';
import { Applier, type ApplierListener } from './applier.js';
import { appliedEvent, everythingChanged, historyRows } from './applied-event.js';
import { Barriers } from './barriers.js';
import { Consensus, type ConsensusListener } from './consensus.js';
import type { EntryContent } from './entry.js';
import type { EngineFace, HistoryAnswer } from './face.js';
import { toWire } from './fault-wire.js';
import type { History, HistoryRow } from './history.js';
import { Mutex } from './mutex.js';
import type { EngineClock, SubmitReply, SubmitRequest, Transport } from './ports.js';
import { Proposer } from './proposer.js';
import { SnapshotKeeper } from './snapshot-keeper.js';
import type { EngineRules } from './rules.js';
import type { Snapshots } from './snapshots.js';
import type { SqliteStateMachine } from './sqlite-state-machine.js';
import { DatabaseFull } from './state-machine.js';
import { type SubmitOutcome, Submitter } from './submitter.js';

const TICK_MS = 50;
/** Ticks between looks at space, log size and history. */
const HOUSEKEEPING_TICKS = 20;
const LOG_BYTES_MAX = 64 * 1024 * 1024;
/** What compaction by size leaves, for peers that lag a little. */
const LOG_BYTES_KEPT = 32 * 1024 * 1024;
const JUMP_MS = 3600_000;
/** How long a read waits for a leader. */
const ELECTION_WAIT_MS = 2_500;
/** How long a leader waits for its successor. */
const HAND_OVER_MS = 1_500;
const NO_SPACE = 'No space left on the device of the database';

export interface EngineParts {
  readonly node: RaftNode;
  readonly log: Log;
  readonly machine: SqliteStateMachine;
  readonly history: History;
  readonly snapshots: Snapshots;
  readonly transport: Transport;
  readonly clock: EngineClock;
  readonly logger: Logger;
  readonly commands: ReadonlyMap<string, Command>;
  readonly cluster: string;
  readonly rules: EngineRules;
  /** The process must end: the log failed, or an invariant did. */
  readonly fatal: (error: unknown) => void;
  /** Why the replica stands still from the start (a newer schema than this build's, say). */
  readonly stopped?: string | undefined;
}

/**
 * One member's engine: consensus, log and replica, driven in one thread. It knows no Nest, no worker and no process; what it touches comes in as
 * ports. The order of its life: `openEngine` (opening.ts) builds the parts, the constructor starts them, `close` ends them.
 */
export class Engine implements EngineFace {
  readonly #consensus: Consensus;
  readonly #mutex: Mutex;
  readonly #applier: Applier;
  readonly #barriers: Barriers;
  readonly #proposer: Proposer;
  readonly #submitter: Submitter;
  readonly #snapshots: SnapshotKeeper;
  readonly #listeners = new Set<(applied: Applied) => void>();
  readonly #ticking: Disposable;
  #office: { role: RaftRole; leader: number | undefined; term: number } = { role: 'follower', leader: undefined, term: 0 };
  /** Rejects when there is another leader than the one that was asked. */
  #replaced = newLeader();
  #noSpace = false;
  #ticks = 0;
  #clockOffsetMs: number;
  #readyWaiters: (() => void)[] = [];
  readonly #warnings: string[] = [];
  #closed = false;

  constructor(private readonly parts: EngineParts) {
    const { node, machine, clock, logger, log, transport, commands } = parts;
    this.#clockOffsetMs = clock.realMs() - clock.monotonicMs();
    this.#mutex = new Mutex(() => this.#released());
    this.#applier = new Applier(machine, this.#mutex, clock, this.#applierListener(), parts.rules);
    this.#barriers = new Barriers(
      (context) => {
        node.readIndex(context, clock.monotonicMs());
        this.#consensus.pump();
        this.#vouchAlone();
      },
      () => machine.standing().index,
    );
    this.#consensus = new Consensus(node, log, transport, clock, this.#consensusListener(), (install) => this.#snapshots.markerBatch(install));
    const { fatal } = parts;
    const installed = (index: number): void => this.#installed(index);
    this.#snapshots = new SnapshotKeeper({ ...parts, applier: this.#applier, mutex: this.#mutex, installed, fatal });
    this.#submitter = new Submitter({
      monotonicMs: () => clock.monotonicMs(),
      applied: () => machine.standing().index,
      toLeader: (request, dryRun, deadlineMs) => this.#toLeader(request, dryRun, deadlineMs),
    });
    this.#proposer = new Proposer({
      node,
      machine,
      shapeOf: machine.shapes.of,
      applier: this.#applier,
      mutex: this.#mutex,
      clock,
      log: logger,
      commands,
      barrier: () => this.#barriers.wait(),
      pump: () => this.#consensus.pump(),
      clusterNow: () => clock.realMs(),
      hindrance: () => this.#hindrance(),
      rules: parts.rules,
    });
    transport.start({
      message: (message) => {
        node.step(message, clock.monotonicMs());
        this.#consensus.pump();
      },
      submit: (from, term, request, dryRun) => this.#serveSubmit(from, term, request, dryRun),
      unreachable: (peer) => node.peerUnreachable(peer, clock.monotonicMs()),
    });
    this.#ticking = clock.every(TICK_MS, () => this.#tick());
    if (parts.stopped !== undefined) this.#applier.stop(parts.stopped);
    this.#consensus.pump();
  }

  submit(request: SubmitRequest): Promise<SubmitOutcome> {
    return this.#submitter.submit(request, false);
  }

  dryRun(request: SubmitRequest): Promise<SubmitOutcome> {
    return this.#submitter.submit(request, true);
  }

  async barrier(): Promise<number> {
    const untilMs = this.parts.clock.monotonicMs() + ELECTION_WAIT_MS;
    for (;;) {
      if (this.#applier.stoppedBecause !== undefined) throw this.#stoppedFault();
      try {
        return await this.#barriers.wait();
      } catch (error) {
        // An election is over in a second: a reader would rather wait for it than be told of it.
        if (this.#closed || this.parts.clock.monotonicMs() >= untilMs) throw error;
        await this.#pause(TICK_MS);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.parts.clock.every(ms, () => {
        timer[Symbol.dispose]();
        resolve();
      });
    });
  }

  async submitted(submitId: string): Promise<{ state: 'applied'; index: number } | { state: 'unknown' }> {
    await this.barrier();
    const row = this.parts.machine.submitted(submitId);
    return row === undefined ? { state: 'unknown' } : { state: 'applied', index: row };
  }

  status(): ReplicaStatus {
    const { node, machine, cluster } = this.parts;
    const { id, term, role, leader, commit, configuration, peers } = node.status();
    const nowMs = this.parts.clock.monotonicMs();
    const { index, durable, schema } = machine.standing();
    const learner = !configuration.voters.includes(id);
    const stopped = this.#applier.stoppedBecause;
    return {
      member: { id, clusterId: cluster },
      role: learner ? 'learner' : role === 'pre-candidate' ? 'candidate' : role,
      ...(leader === undefined ? {} : { leader }),
      term,
      commit,
      applied: index,
      durable,
      schema,
      warnings: [...this.#warnings],
      peers: peers.map(({ id: peer, match, heardMs }) => ({
        id: peer,
        match,
        ...(heardMs === undefined ? {} : { silentMs: Math.round(nowMs - heardMs) }),
      })),
      ...(stopped === undefined ? {} : { stopped }),
    };
  }

  history(query: { from?: number | undefined; limit?: number | undefined; project?: string | undefined }): HistoryAnswer {
    return { rows: this.parts.history.read(query), span: this.parts.history.span() };
  }

  historyEntry(index: number): readonly HistoryRow[] {
    return this.parts.history.entry(index);
  }

  async compact(): Promise<void> {
    await this.#snapshots.take();
    this.#compactLog(Infinity);
  }

  watch(listener: (applied: Applied) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  ready(): Promise<void> {
    if (this.#isReady()) return Promise.resolve();
    return new Promise((resolve) => this.#readyWaiters.push(resolve));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#handOver();
    this.#closed = true;
    this.#ticking[Symbol.dispose]();
    const closing = fault.unavailable('The server is shutting down');
    this.#submitter.fail(closing);
    this.#barriers.fail(closing);
    this.#snapshots.close();
    // A capture or backup under way ends by itself; nothing new begins.
    while (this.#mutex.held) await this.parts.clock.turn();
    await this.parts.transport.close();
    this.#applier.leftOffice();
    this.#leaveTidy();
    this.parts.history.close();
    await this.parts.machine.close();
    // The last batch of a log may be called torn; after this one, what was acknowledged is not the last.
    if (this.parts.log.usable && !this.#consensus.stuck) this.parts.log.append({ hardState: this.parts.log.state.hardState });
    this.parts.log.close();
  }

  /** A short WAL for the next start. What a full disk does not let through is in the log. */
  #leaveTidy(): void {
    try {
      this.parts.machine.makeDurable();
      this.parts.machine.checkpoint();
    } catch (error) {
      if (!(error instanceof DatabaseFull)) throw error;
    }
  }

  async transferLeadership(to?: MemberId): Promise<boolean> {
    const { node, clock } = this.parts;
    if (!node.transferLeadership(clock.monotonicMs(), to)) return false;
    this.#consensus.pump();
    const untilMs = clock.monotonicMs() + HAND_OVER_MS;
    while (this.#office.role === 'leader' && clock.monotonicMs() < untilMs) await new Promise((resolve) => setTimeout(resolve, 10));
    return this.#office.role !== 'leader';
  }

  /** A leader that goes lets another begin at once, instead of an election after its silence. */
  async #handOver(): Promise<void> {
    const { voters } = this.parts.node.status().configuration;
    if (this.#office.role === 'leader' && voters.length > 1) await this.transferLeadership();
  }

  #applierListener(): ApplierListener {
    return {
      applied: (position, content, changes, entry) => this.#applied(position, content, changes, entry),
      stopped: (why) => {
        const { node, logger, clock, machine } = this.parts;
        logger.error({ why }, 'the replica stopped: this member votes and acknowledges, but does not lead');
        node.setPromotable(false, clock.monotonicMs());
        node.requestSnapshot(machine.standing().index + 1);
        this.#barriers.fail(this.#stoppedFault());
        this.#submitter.fail(this.#stoppedFault());
        this.#proposer.refuseAll(this.#stoppedFault());
        this.#tellReady();
        this.#consensus.pump();
      },
      databaseFull: (error) => {
        this.parts.logger.error({ err: error }, 'no space left for the database: nothing is applied until there is');
        this.#noSpace = true;
        this.#proposer.refuseAll(fault.unavailable(NO_SPACE, { retryAfterS: 5 }));
        this.#vouchAlone();
      },
    };
  }

  #consensusListener(): ConsensusListener {
    return {
      committed: (entries) => this.#applier.add(entries),
      readStates: (states) => this.#barriers.answered(states),
      office: (role, leader, term) => this.#officeIs(role, leader, term),
      snapshotWanted: () => this.#snapshots.want(),
      snapshotChunk: (chunk) => this.#snapshots.chunk(chunk),
      snapshotInstall: (install) => this.#snapshots.installDue(install),
      noSpace: () => {
        this.#foundNoSpace();
        this.#vouchAlone();
      },
      leaveJointDue: () => this.#proposer.leaveJoint(),
      refused: (refusals) => this.#refused(refusals),
      fatal: this.parts.fatal,
    };
  }

  #applied(position: Position, content: EntryContent | undefined, changes: TableChanges[][], entry: Entry): void {
    const { node, history } = this.parts;
    node.applied(position.index);
    try {
      history.add(position.index, historyRows(position.index, content));
    } catch (error) {
      // It keeps what it could not write, and the log is not compacted before it could.
      this.parts.logger.warn({ err: error }, 'history could not be written');
    }
    const event = appliedEvent(position.index, content, changes, (submitId) => this.#submitter.has(submitId));
    for (const listener of this.#listeners) listener(event);
    if (content?.kind === 'batch')
      for (const { submitId, result } of content.commands) this.#submitter.appliedEntry(submitId, position.index, result);
    this.#risen();
    if (entry.type === 'configuration') this.parts.logger.info({ configuration: entry.configuration }, 'the configuration changed');
  }

  /** The applied index is higher: who waits for it goes on. */
  #risen(): void {
    this.#submitter.settle();
    this.#barriers.settle();
    this.#proposer.kick();
    this.#tellReady();
    this.#snapshots.free();
    this.#consensus.pump();
  }

  /** A snapshot has taken the place of the rows. */
  #installed(index: number): void {
    const { node, machine, clock } = this.parts;
    node.setPromotable(this.#hindrance() === undefined, clock.monotonicMs());
    for (const listener of this.#listeners) listener(everythingChanged(index, machine.standing().now));
    this.#risen();
  }

  #tellReady(): void {
    if (this.#readyWaiters.length > 0 && this.#isReady()) for (const resolve of this.#readyWaiters.splice(0)) resolve();
  }

  #isReady(): boolean {
    return this.#applier.stoppedBecause !== undefined || (this.#office.leader !== undefined && this.parts.machine.pending().length === 0);
  }

  #officeIs(role: RaftRole, leader: number | undefined, term: number): void {
    const before = this.#office;
    if (before.role === role && before.leader === leader && before.term === term) return;
    this.#office = { role, leader, term };
    if (before.role === 'leader' && (role !== 'leader' || before.term !== term)) {
      this.#applier.leftOffice();
      this.#proposer.leftOffice();
    }
    if (role === 'leader') this.#proposer.kick();
    if (leader !== undefined) {
      this.#replaced.reject(new Error('another leader'));
      this.#replaced = newLeader();
      this.#submitter.leaderChanged();
    }
    this.#tellReady();
    this.parts.logger.info({ role, leader, term }, 'office');
  }

  /** Told once for each: they are repeated with every message. */
  #refused(refusals: readonly Refusal[]): void {
    for (const { by, member, reason } of refusals) {
      const words = `member ${by} refuses member ${member}: ${refusalWords[reason]}`;
      if (this.#warnings.includes(words)) continue;
      this.#warnings.push(words);
      this.parts.logger.error({ by, member, reason }, words);
    }
  }

  #toLeader(request: SubmitRequest, dryRun: boolean, deadlineMs: number): Promise<SubmitReply> | undefined {
    const { role, leader, term } = this.#office;
    if (role === 'leader') return this.#enqueue(request, dryRun, deadlineMs);
    if (leader === undefined) return undefined;
    // A leader that was replaced may be paused, and answer nothing for long: its successor is asked then, under the same id.
    return Promise.race([this.parts.transport.submit(leader, term, request, dryRun), this.#replaced.promise]);
  }

  async #serveSubmit(from: MemberId, term: number, request: SubmitRequest, dryRun: boolean): Promise<SubmitReply> {
    if (this.#office.role !== 'leader' || !this.parts.rules.servesTerm(term, this.#office.term)) return { kind: 'not-leader' };
    const reply = await this.#enqueue(request, dryRun, this.parts.clock.monotonicMs() + request.timeoutMs);
    if (reply.kind === 'applied') {
      this.parts.node.expectCommit(from, reply.index);
      this.#consensus.pump();
    }
    return reply;
  }

  #enqueue(request: SubmitRequest, dryRun: boolean, deadlineMs: number): Promise<SubmitReply> {
    return new Promise((settle) => {
      try {
        const hindrance = this.#hindrance();
        if (hindrance !== undefined) throw fault.unavailable(hindrance, { retryAfterS: 5 });
        this.#proposer.enqueue({ kind: dryRun ? 'dry-run' : 'command', request, deadlineMs, settle });
      } catch (error) {
        settle({ kind: 'fault', fault: toWire(error) });
      }
    });
  }

  #hindrance(): string | undefined {
    if (this.#closed) return 'The server is shutting down';
    if (this.#applier.stoppedBecause !== undefined) return this.#stoppedFault().message;
    return this.#noSpace ? NO_SPACE : undefined;
  }

  #stoppedFault(): Fault {
    return fault.unavailable('The database of this member has stopped', { detail: this.#applier.stoppedBecause ?? '' });
  }

  #tick(): void {
    const { node, clock } = this.parts;
    this.#ticks += 1;
    node.tick(clock.monotonicMs(), clock.realMs());
    this.#watchClock();
    this.#consensus.pump();
    this.#submitter.tick();
    if (this.#proposer.fifo.length > 0) this.#proposer.kick();
    if (this.#ticks % HOUSEKEEPING_TICKS === 0) this.#housekeeping();
  }

  #watchClock(): void {
    const { clock, logger } = this.parts;
    const offsetMs = clock.realMs() - clock.monotonicMs();
    const jumpMs = offsetMs - this.#clockOffsetMs;
    this.#clockOffsetMs = offsetMs;
    if (Math.abs(jumpMs) <= JUMP_MS) return;
    const words = `the clock of this member jumped by ${Math.round(jumpMs / 1000)} s`;
    logger.warn({ jumpMs }, words);
    this.#warnings.push(words);
  }

  #housekeeping(): void {
    const { log, history, logger } = this.parts;
    try {
      log.prepareNext();
      if (this.#noSpace && !this.#consensus.stuck && !this.#applier.full) this.#foundSpace();
    } catch (error) {
      if (!(error instanceof NoSpace)) return this.parts.fatal(error);
      this.#foundNoSpace();
    }
    try {
      history.flush();
    } catch (error) {
      // History may be late; what it lacks is in the log, which is not compacted before it.
      logger.warn({ err: error }, 'history could not be written');
    }
    try {
      if (log.sizeBytes > LOG_BYTES_MAX) this.#compactLog(log.indexWithin(LOG_BYTES_KEPT) - 1);
    } catch (error) {
      if (!(error instanceof NoSpace || error instanceof DatabaseFull)) return this.parts.fatal(error);
      this.#foundNoSpace();
    }
    this.#released();
  }

  #foundNoSpace(): void {
    if (this.#noSpace) return;
    this.#noSpace = true;
    const { node, clock, logger } = this.parts;
    logger.error({}, 'no space left for the log: nothing is accepted until there is');
    this.#proposer.refuseAll(fault.unavailable(NO_SPACE, { retryAfterS: 5 }));
    // With nobody to hand over to, it stays in office: reads need it, and they write nothing.
    if (node.status().configuration.voters.length > 1) node.setPromotable(false, clock.monotonicMs());
  }

  /**
   * Where there was no space for the log or the database, nothing goes on, the rounds of reads neither. Where there is no other voter, what is applied is all that anybody was ever told of, and
   * nobody else can add to it: reads go on.
   */
  #vouchAlone(): void {
    const { voters, outgoing } = this.parts.node.status().configuration;
    if ((this.#consensus.stuck || this.#applier.full) && this.#office.role === 'leader' && voters.length === 1 && outgoing.length === 0)
      this.#barriers.vouched(this.parts.machine.standing().index);
  }

  #foundSpace(): void {
    this.#noSpace = false;
    const { node, clock, logger } = this.parts;
    logger.info({}, 'there is space for the log again');
    if (this.#applier.stoppedBecause === undefined) node.setPromotable(true, clock.monotonicMs());
  }

  /** Up to what is durable in the replica, and in history; never past what a transfer still needs. */
  #compactLog(upTo: number): void {
    const { machine, log, history, node } = this.parts;
    if (this.#mutex.held || !this.#applier.idle) return;
    history.flushDurably();
    const durable = this.parts.rules.compactUpTo(() => machine.makeDurable(), machine.standing().index);
    const pinned = (node.pinnedIndex() ?? Infinity) - 1;
    const index = Math.min(durable, upTo, pinned);
    if (index >= log.firstIndex()) log.compact(index);
    machine.checkpoint();
  }

  /** The mutex is free: what waited for it. */
  #released(): void {
    this.#applier.run();
    this.#proposer.kick();
    this.#snapshots.free();
  }
}

const refusalWords: Record<RefusalReason, string> = {
  cluster: 'it is of another cluster',
  removed: 'it was removed',
  incarnation: 'it came back under another incarnation since',
  boot: 'its disk was cloned or put back: remove it, and let it join again',
  log: 'its log lacks what it acknowledged: remove it, and let it join again',
};

function newLeader(): PromiseWithResolvers<never> {
  const replaced = Promise.withResolvers<never>();
  // Nobody may be waiting.
  replaced.promise.catch(() => undefined);
  return replaced;
}

/**
 * What every role shares: the durable state, the log, the configurations, the outbox. The parts (election, following, leadership, …) hold
 * what is their own and work on this one. A leader's knowledge is one object, `office`, made on taking office and dropped on leaving it,
 * so nothing of an old term can be left over in a new one.
 */
import { Configurations, isSoleVoter, isVoter } from './configuration.js';
import { defaultLimits, defaultTimers } from './defaults.js';
import type { Leadership } from './leadership.js';
import { RaftLog } from './log.js';
import { rules, type Rules } from './rules.js';
import type { Entry, Identity, Limits, MemberId, Message, MessageBody, RaftOptions, RaftRole, ReadState, SnapshotSource, Timers } from './types.js';

export class Core {
  readonly id: MemberId;
  readonly identity: Identity;
  readonly boot: string;
  readonly timers: Timers;
  readonly limits: Limits;
  readonly rules: Rules;
  readonly random: () => number;
  readonly leases: boolean;
  readonly snapshots: SnapshotSource | undefined;
  readonly log: RaftLog;
  readonly configurations: Configurations;

  /** Time of the latest input. */
  nowMs: number;
  lastTickMs: number;

  term: number;
  vote: MemberId | undefined;
  role: RaftRole = 'follower';
  leader: MemberId | undefined;
  office: Leadership | undefined;

  promotable: boolean;
  /** Until then no vote is given, see rules. */
  promiseUntilMs: number;
  electionAtMs = 0;

  messagesNow: Message[] = [];
  messagesAfterPersist: Message[] = [];
  readStates: ReadState[] = [];
  snapshotWanted: number | undefined;

  constructor(options: RaftOptions) {
    this.identity = options.identity;
    this.id = options.identity.member;
    this.boot = options.identity.boots.at(-1)!;
    this.timers = { ...defaultTimers, ...options.timers };
    this.limits = { ...defaultLimits, ...options.limits };
    this.rules = { ...rules, ...options.rules };
    this.random = options.random;
    this.leases = options.leases ?? false;
    this.snapshots = options.snapshots;
    this.promotable = options.promotable ?? true;
    this.term = options.hardState.term;
    this.vote = options.hardState.vote;
    this.nowMs = options.startMs;
    this.lastTickMs = options.startMs;
    this.log = new RaftLog(options.storage, options.applied.index, options.hardState.commit, this.limits.tailBytes);
    this.configurations = new Configurations(options.applied.index, options.applied.configuration);
    this.findConfigurations(options.applied.index);
    this.promiseUntilMs = this.rules.promiseAtStart(options.startMs, this.timers.promiseMs);
    this.postponeElection();
  }

  get isVoter(): boolean {
    return isVoter(this.configurations.inForce, this.id);
  }

  get isSoleVoter(): boolean {
    return isSoleVoter(this.configurations.inForce, this.id);
  }

  /**
   * Nobody else can lead, now or any more: so there is nobody to wait for, and no promise to keep. As long as the configuration that says so is not
   * known to be committed, the leader that proposed it may still lead without being in it, on the strength of this member's promise.
   */
  get mayLeadAtOnce(): boolean {
    return this.isSoleVoter && this.configurations.inForceIndex <= this.log.commit;
  }

  /** An entry of the own term is committed: what is committed is known. */
  get knowsCommit(): boolean {
    return this.rules.knowsCommit(this.log.term(this.log.commit), this.term);
  }

  get majorities(): readonly (readonly MemberId[])[] {
    return this.rules.majorities(this.configurations.inForce);
  }

  send(to: MemberId, body: MessageBody, term: number = this.term): void {
    const { cluster, incarnation } = this.identity;
    const message: Message = { cluster, from: this.id, to, incarnation, boot: this.boot, term, ...body };
    (this.rules.waitsForDisk(body.type) ? this.messagesAfterPersist : this.messagesNow).push(message);
  }

  /** Follows `leader`, or nobody yet, in `term`. Leaves office if it was held. */
  follow(term: number, leader: MemberId | undefined): void {
    if (term > this.term) {
      this.term = term;
      this.vote = this.rules.voteInNewTerm(this.vote);
    }
    this.office?.close();
    this.office = undefined;
    this.role = 'follower';
    this.leader = leader;
    this.postponeElection();
  }

  /** A leader's message of this term came: the promise to it runs anew. */
  heardLeader(from: MemberId): void {
    if (this.role !== 'follower') this.follow(this.term, from);
    this.leader = from;
    this.promiseUntilMs = this.nowMs + this.timers.promiseMs;
    this.postponeElection();
  }

  postponeElection(): void {
    const { electionMinMs, electionMaxMs } = this.timers;
    this.electionAtMs = this.nowMs + electionMinMs + Math.floor(this.random() * (electionMaxMs - electionMinMs));
  }

  /** Appends as leader. The place is given by the log. */
  appendOwn(type: Entry['type'], data: Uint8Array, configuration?: Entry['configuration']): Entry {
    const entry: Entry = { term: this.term, index: this.log.lastIndex + 1, type, data, ...(configuration && { configuration }) };
    this.append(entry);
    return entry;
  }

  append(entry: Entry): void {
    this.log.append(entry);
    if (!entry.configuration) return;
    this.configurations.append(entry.index, entry.configuration);
    this.office?.configurationChanged();
  }

  truncateFrom(index: number): void {
    this.log.truncateFrom(index);
    this.configurations.truncateFrom(index);
  }

  /** The log may hold configurations beyond the applied one; they are in force. */
  private findConfigurations(appliedIndex: number): void {
    let from = Math.max(appliedIndex + 1, this.log.firstIndex);
    while (from <= this.log.lastIndex) {
      const entries = this.log.entries(from, this.log.lastIndex, this.limits.committedBytes);
      if (entries.length === 0) break;
      for (const entry of entries) if (entry.configuration) this.configurations.append(entry.index, entry.configuration);
      from = entries.at(-1)!.index + 1;
    }
  }
}

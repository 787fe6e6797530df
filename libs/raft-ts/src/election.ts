/**
 * Elections, with a question before each (pre-vote, thesis §9.6): a member that would not win does not raise its term, so one that comes
 * back from behind a partition disturbs nobody. Votes for oneself count like any other: once they are durable.
 */
import type { Core } from './core.js';
import { Leadership } from './leadership.js';
import { membersOf } from './configuration.js';
import { outcome } from './quorum.js';
import type { HardState, MemberId, Message } from './types.js';

type Of<T extends Message['type']> = Extract<Message, { type: T }>;

export class Election {
  private votes = new Map<MemberId, boolean>();
  /** The present candidature was asked for by the leader. */
  private transfer = false;

  constructor(
    private readonly core: Core,
    /** A member whose state machine lacks a snapshot does not lead. */
    private readonly lacksSnapshot: () => boolean,
  ) {}

  tick(): void {
    if (this.core.office || this.core.nowMs < this.core.electionAtMs) return;
    this.campaign();
  }

  /** Stands for election, by the question first. */
  campaign(): void {
    const { core } = this;
    core.postponeElection();
    if (!this.mayCampaign(false)) return;
    if (core.mayLeadAtOnce) return this.standForElection(false);
    core.role = 'pre-candidate';
    core.leader = undefined;
    this.votes = new Map();
    this.ask('pre-vote', core.term + 1);
    this.count(core.id, true);
  }

  /** The leader hands over to this member: no question, and nobody's promise in the way. */
  onTimeoutNow(message: Of<'timeout-now'>): void {
    if (message.from !== this.core.leader || !this.mayCampaign(true)) return;
    this.standForElection(true);
  }

  onPreVote(message: Of<'pre-vote'>): void {
    const { core } = this;
    const granted =
      message.term > core.term &&
      !core.office &&
      core.rules.promiseAllowsVote(core.nowMs, core.promiseUntilMs, false) &&
      core.rules.isUpToDate(message.last, core.log.last);
    core.send(message.from, { type: 'pre-vote-answer', granted }, granted ? message.term : core.term);
  }

  /** Called before the term of the message counts for anything: a request that the promise forbids must not even raise the term. */
  mayHearVote(message: Of<'vote'>): boolean {
    const { core } = this;
    return message.transfer || (!core.office && core.rules.promiseAllowsVote(core.nowMs, core.promiseUntilMs, message.transfer));
  }

  onVote(message: Of<'vote'>): void {
    const { core } = this;
    const granted =
      message.term === core.term &&
      core.leader === undefined &&
      core.rules.mayVoteFor(message.from, core.vote) &&
      core.rules.isUpToDate(message.last, core.log.last);
    if (granted) {
      core.vote = message.from;
      core.postponeElection();
    }
    core.send(message.from, { type: 'vote-answer', granted });
  }

  onAnswer(message: Of<'pre-vote-answer'> | Of<'vote-answer'>): void {
    const { core } = this;
    if (message.type === 'vote-answer') {
      if (core.role === 'candidate' && message.term === core.term) this.count(message.from, message.granted);
    } else if (core.role === 'pre-candidate') {
      if (message.granted ? message.term === core.term + 1 : message.term === core.term) this.count(message.from, message.granted);
    }
  }

  /** What this member wrote is durable: with it, the vote for itself. */
  durable(hardState: HardState): void {
    const { core } = this;
    if (core.role === 'candidate' && hardState.term === core.term && hardState.vote === core.id) this.count(core.id, true);
  }

  /** This member may not lead any more: it does not win what it has begun, and leaves what it holds. */
  withdraw(): void {
    const { core } = this;
    if (core.office) core.office.handOver.resign();
    else if (core.role !== 'follower') core.follow(core.term, undefined);
  }

  private mayCampaign(transfer: boolean): boolean {
    const { core } = this;
    if (!core.promotable || !core.configurations.mayNeed(core.id, core.log.commit) || this.lacksSnapshot()) return false;
    return core.rules.promiseAllowsCampaign(core.nowMs, core.promiseUntilMs, transfer, core.mayLeadAtOnce);
  }

  private standForElection(transfer: boolean): void {
    const { core } = this;
    core.follow(core.term + 1, undefined);
    core.role = 'candidate';
    core.vote = core.id;
    this.transfer = transfer;
    this.votes = new Map();
    this.ask('vote', core.term);
  }

  private ask(type: 'pre-vote' | 'vote', term: number): void {
    const { core } = this;
    const last = core.log.last;
    for (const id of membersOf(core.configurations.inForce)) {
      if (id === core.id || !core.majorities.some((group) => group.includes(id))) continue;
      core.send(id, type === 'vote' ? { type, last, transfer: this.transfer } : { type, last }, term);
    }
  }

  private count(from: MemberId, granted: boolean): void {
    const { core } = this;
    if (!this.votes.has(from)) this.votes.set(from, granted);
    const result = outcome(core.majorities, this.votes);
    if (result === 'open') return;
    if (result === 'lost') {
      core.follow(core.term, undefined);
    } else if (core.role === 'pre-candidate') {
      this.standForElection(false);
    } else {
      core.role = 'leader';
      core.leader = core.id;
      core.office = new Leadership(core);
      core.office.open();
    }
  }
}

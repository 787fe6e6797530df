/**
 * Reads at the leader (ReadIndex, thesis §6.4). Reads that wait are gathered into the next round of heartbeats; when a quorum has answered
 * it, they may be served at the commit index of the moment it was sent. All who wait share a round, but none joins one that was sent.
 */
import type { Core } from './core.js';
import type { Lease } from './lease.js';
import type { Progress } from './progress.js';
import { reachedByAll } from './quorum.js';
import type { MemberId } from './types.js';

interface WaitingRead {
  readonly origin: MemberId;
  /** The local context, or the number the asking follower gave. */
  readonly id: number;
  readonly boot: string;
}

interface Round {
  readonly number: number;
  readonly sentMs: number;
  readonly commit: number;
  readonly reads: WaitingRead[];
}

export class ReadRounds {
  private number = 0;
  private waiting: WaitingRead[] = [];
  private sent: Round[] = [];

  constructor(
    private readonly core: Core,
    private readonly lease: Lease,
  ) {}

  /** Number of the last round sent; goes with every append and heartbeat. */
  get current(): number {
    return this.number;
  }

  ask(origin: MemberId, id: number, boot: string): void {
    const { core } = this;
    const read = { origin, id, boot };
    if (core.knowsCommit && (!core.rules.readNeedsRound(core.isSoleVoter) || this.lease.valid)) {
      this.answer(read, core.log.commit);
    } else if (this.sent.length > 0 && core.rules.readMayJoin(true)) {
      this.sent.at(-1)!.reads.push(read);
    } else {
      this.waiting.push(read);
    }
  }

  /** There are reads that a new round would serve. */
  get wantsRound(): boolean {
    return this.waiting.length > 0 && this.core.knowsCommit;
  }

  /** A round goes out now. The caller sends it. */
  begin(): void {
    const reads = this.wantsRound ? this.waiting : [];
    if (reads.length > 0) this.waiting = [];
    const { commit } = this.core.log;
    this.sent.push({ number: ++this.number, sentMs: this.core.nowMs, commit, reads });
  }

  /** Some peer answered. */
  settle(peers: ReadonlyMap<MemberId, Progress>): void {
    const { core } = this;
    if (this.sent.length === 0) return;
    const answered = reachedByAll(core.majorities, (id) => (id === core.id ? this.number : (peers.get(id)?.round ?? 0)));
    let done = 0;
    while (done < this.sent.length && this.sent[done]!.number <= answered) done++;
    if (done === 0) return;
    const rounds = this.sent.splice(0, done);
    this.lease.roundAnswered(rounds.at(-1)!.number, rounds.at(-1)!.sentMs);
    for (const round of rounds) for (const read of round.reads) this.answer(read, round.commit);
  }

  /** Office is lost: nothing is known about the reads that still wait. Followers learn it from the next leader, or by waiting in vain. */
  close(): void {
    for (const read of [...this.sent.flatMap((round) => round.reads), ...this.waiting]) {
      if (read.origin === this.core.id) this.core.readStates.push({ context: read.id, refused: 'lost' });
    }
  }

  private answer(read: WaitingRead, index: number): void {
    if (read.origin === this.core.id) this.core.readStates.push({ context: read.id, index });
    else {
      this.core.send(read.origin, { type: 'read-index-answer', id: read.id, askerBoot: read.boot, index });
      this.core.office?.expectCommit(read.origin, index);
    }
  }
}

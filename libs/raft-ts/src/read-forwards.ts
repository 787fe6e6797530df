/** Reads at a member that does not lead: they ask the leader, all that wait by one message. */
import type { Core } from './core.js';
import type { MemberId, Message } from './types.js';

interface Forward {
  readonly leader: MemberId;
  readonly term: number;
  readonly contexts: readonly number[];
  readonly sinceMs: number;
  sentMs: number;
}

export class ReadForwards {
  private waiting: number[] = [];
  private readonly sent = new Map<number, Forward>();
  private lastId = 0;

  constructor(private readonly core: Core) {}

  ask(context: number): void {
    this.waiting.push(context);
  }

  /** Once per Ready. */
  flush(): void {
    const { core } = this;
    for (const [id, forward] of this.sent) if (forward.leader !== core.leader || forward.term !== core.term) this.giveUp(id, forward);
    if (this.waiting.length === 0) return;
    const contexts = this.waiting;
    this.waiting = [];
    if (core.leader === undefined || core.leader === core.id) {
      for (const context of contexts) core.readStates.push({ context, refused: 'no-leader' });
      return;
    }
    const id = ++this.lastId;
    this.sent.set(id, { leader: core.leader, term: core.term, contexts, sinceMs: core.nowMs, sentMs: core.nowMs });
    core.send(core.leader, { type: 'read-index', id });
  }

  onAnswer(message: Extract<Message, { type: 'read-index-answer' }>): void {
    const forward = this.sent.get(message.id);
    if (!forward || message.askerBoot !== this.core.boot || forward.leader !== message.from || forward.term !== message.term) return;
    this.sent.delete(message.id);
    for (const context of forward.contexts) this.core.readStates.push({ context, index: message.index });
  }

  tick(): void {
    const { nowMs, timers } = this.core;
    for (const [id, forward] of this.sent) {
      if (nowMs - forward.sinceMs >= timers.electionMaxMs) this.giveUp(id, forward);
      else if (nowMs - forward.sentMs >= timers.resendMs) {
        forward.sentMs = nowMs;
        this.core.send(forward.leader, { type: 'read-index', id });
      }
    }
  }

  private giveUp(id: number, forward: Forward): void {
    this.sent.delete(id);
    for (const context of forward.contexts) this.core.readStates.push({ context, refused: 'lost' });
  }
}

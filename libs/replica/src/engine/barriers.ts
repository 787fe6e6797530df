import { fault } from '#kit';
import type { ReadState } from '#raft-ts';

interface Round {
  readonly context: number;
  readonly resolve: ((index: number) => void)[];
  readonly reject: ((error: unknown) => void)[];
  /** Known once the leader has answered. */
  index?: number;
}

export interface BarrierNode {
  readIndex(context: number, nowMs: number): void;
}

/**
 * Reads that wait for an index at which they are linearizable, and then until it is applied here. All that ask in one turn share a round; one
 * that comes later never joins a round that was begun before it.
 */
export class Barriers {
  #next: Round | undefined;
  #rounds = new Map<number, Round>();
  #contexts = 0;

  constructor(
    private readonly begin: (context: number) => void,
    private readonly applied: () => number,
  ) {}

  /** The index that was waited for. @throws Fault unavailable if nobody can vouch for freshness */
  wait(): Promise<number> {
    if (!this.#next) {
      this.#next = { context: (this.#contexts += 1), resolve: [], reject: [] };
      setImmediate(() => this.#start());
    }
    const round = this.#next;
    return new Promise((resolve, reject) => {
      round.resolve.push(resolve);
      round.reject.push(reject);
    });
  }

  answered(states: readonly ReadState[]): void {
    for (const state of states) {
      const round = this.#rounds.get(state.context);
      if (!round) continue;
      if ('index' in state) round.index = state.index;
      else {
        this.#rounds.delete(state.context);
        const why = state.refused === 'no-leader' ? 'There is no leader' : 'The leader changed';
        for (const reject of round.reject) reject(fault.unavailable(`${why}; nothing fresh can be read for now`, { retryAfterS: 1 }));
      }
    }
    this.settle();
  }

  /** Somebody vouches for the index, whatever the rounds under way were told: they are answered. */
  vouched(index: number): void {
    for (const round of this.#rounds.values()) round.index = index;
    this.settle();
  }

  /** To be called whenever the applied index has risen. */
  settle(): void {
    const applied = this.applied();
    for (const [context, { index, resolve }] of this.#rounds) {
      if (index === undefined || index > applied) continue;
      this.#rounds.delete(context);
      for (const each of resolve) each(index);
    }
  }

  fail(error: unknown): void {
    const rounds = [...this.#rounds.values(), ...(this.#next ? [this.#next] : [])];
    this.#rounds.clear();
    this.#next = undefined;
    for (const round of rounds) for (const reject of round.reject) reject(error);
  }

  #start(): void {
    const round = this.#next;
    if (!round) return;
    this.#next = undefined;
    this.#rounds.set(round.context, round);
    this.begin(round.context);
  }
}

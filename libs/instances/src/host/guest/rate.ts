import type { Clock } from '#kit';

/** So many at once, and so many a second for ever; nothing waits longer than `waitMsMax`. */
export interface Rate {
  burst: number;
  perSecond: number;
  waitMsMax: number;
}

/** Spreads what comes too fast: nothing is refused, it waits. Whoever asks bounds how much may wait. */
export class Pace {
  /** When the burst would be whole again if nothing came. */
  #paidUntil = 0;

  constructor(
    private readonly rate: Rate,
    private readonly clock: Pick<Clock, 'monotonicMs'>,
  ) {}

  /** Milliseconds that the next one has to wait; 0 within the burst. */
  next(): number {
    const now = this.clock.monotonicMs();
    const eachMs = 1000 / this.rate.perSecond;
    const free = now + this.rate.burst * eachMs;
    this.#paidUntil = Math.min(Math.max(this.#paidUntil, now) + eachMs, free + this.rate.waitMsMax);
    return Math.max(0, this.#paidUntil - free);
  }
}

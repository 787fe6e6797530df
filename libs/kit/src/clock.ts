/** Time as a port: `now` for people, `monotonicMs` for measuring and deadlines. model and raft-ts never read the clock themselves. */
export interface Clock {
  now(): Date;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonicMs(): number;
}

export const systemClock: Clock = { now: () => new Date(), monotonicMs: () => performance.now() };

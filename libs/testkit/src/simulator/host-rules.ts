import type { Configuration } from '#raft-ts';

/** What a host owes raft-ts and its clients, beside what raft-ts itself sees to. Broken one at a time to see whether anybody notices. */
export const hostRules = {
  /** Only what the replica has durably may leave the log. */
  compactUpTo: (durable: number, _applied: number): number => durable,
  /** A snapshot has the configuration as of its own index. */
  snapshotConfiguration: (applied: Configuration, _inForce: Configuration): Configuration => applied,
  /** The file of a snapshot is durable before the log is dropped for it. */
  syncsSnapshots: true,
  /** A refusal is a read. */
  refusalNeedsRound: true,
  /** What was in the log at the end is still there at the start. */
  forgetsLastEntry: false,
  /** A request that was repeated is found again. */
  forgetsRequests: false,
  /** Whoever waits for an answer is found by the request's own number, not by the place its entry was meant to get. */
  settlesByIndex: false,
};

export type HostRules = Readonly<typeof hostRules>;

import type { Limits, Timers } from './types.js';

/** The one table of timers. The host ticks every 50 ms; nothing here is under 100. */
export const defaultTimers: Timers = {
  heartbeatMs: 100,
  spareHeartbeatMs: 1_000,
  electionMinMs: 500,
  electionMaxMs: 1_000,
  promiseMs: 500,
  quorumMs: 1_000,
  leaseMs: 400,
  tickGapMs: 150,
  clockJumpMs: 100,
  transferMs: 1_000,
  snapshotStallMs: 10_000,
  resendMs: 250,
  slowLogMs: 300,
  slowLogTimes: 3,
  slowLogWindowMs: 60_000,
};

export const defaultLimits: Limits = {
  appendBytes: 1 << 20,
  spareAppendBytes: 4 << 20,
  inflightBytes: 8 << 20,
  chunkBytes: 256 << 10,
  chunksInflight: 8,
  committedBytes: 4 << 20,
  uncommittedBytes: 64 << 20,
  tailBytes: 4 << 20,
};

/**
 * The rules by which a log is read back, gathered so that a simulator can break one at a time (LogOptions.rules, for tests only) and prove that it
 * notices. @see engine.md §3
 */
export const logRules = {
  /** A bad place with a later batch behind it was durable once: damage. Without one nobody was told of it, and it goes. */
  isDamage: (laterBatchBehind: boolean): boolean => laterBatchBehind,

  /** A record counts only with the right checksum; so a torn batch does not. */
  recordCounts: (checksumFits: boolean): boolean => checksumFits,
};

export type LogRules = Readonly<typeof logRules>;

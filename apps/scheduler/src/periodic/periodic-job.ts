/** Work that comes again. It takes no arguments but the time: it looks at the state and acts, so that a run that was missed or repeated changes nothing. */
export interface PeriodicJob {
  /** For the log: `snapshots by schedule`. */
  name: string;
  /** Cron, five fields, in the time zone of the member. */
  schedule: string;
  /** `member`: on every member, for what is its own. `leader`: on the database leader only, for what is everybody's. */
  on: 'member' | 'leader';
  /** A run that takes longer is told to end. */
  timeoutMs: number;
  run(due: DueRun): Promise<void>;
}

export interface DueRun {
  /** When it was to run, to the minute; a little before now. */
  dueAt: Date;
  /** Aborted when the time is over, or the scheduler stops. */
  signal: AbortSignal;
}

import type { Applied, ReplicaStatus } from '../ports.js';
import type { HistoryRow } from './history.js';
import type { SubmitRequest } from './ports.js';
import type { SubmitOutcome } from './submitter.js';

export interface HistoryAnswer {
  readonly rows: readonly HistoryRow[];
  readonly span: { readonly from: number; readonly to: number; readonly gaps: readonly [number, number][] };
}

/** What the main thread asks of the engine; the worker's protocol carries exactly this. */
export interface EngineFace {
  /** @throws Fault the handler's own; unavailable with `metadata: {submitId}` if the outcome is unknown */
  submit(request: SubmitRequest): Promise<SubmitOutcome>;
  dryRun(request: SubmitRequest): Promise<SubmitOutcome>;
  /** Resolves once everything acknowledged before the call is applied here; answers the index. @throws Fault unavailable */
  barrier(): Promise<number>;
  submitted(submitId: string): Promise<{ state: 'applied'; index: number } | { state: 'unknown' }>;
  status(): ReplicaStatus;
  history(query: { from?: number | undefined; limit?: number | undefined; project?: string | undefined }): HistoryAnswer;
  /** The commands of one entry; empty if this member does not have it (any more). */
  historyEntry(index: number): readonly HistoryRow[];
  /** Takes a snapshot, and compacts the log up to what is durable in the replica. */
  compact(): Promise<void>;
  watch(listener: (applied: Applied) => void): Disposable;
  /** Resolves when there is a leader and the database has the schema of this build. */
  ready(): Promise<void>;
  /** Leader: hands over to that voter, or the best. False if it does not lead, or nobody took over in time. */
  transferLeadership(to?: number): Promise<boolean>;
  close(): Promise<void>;
}

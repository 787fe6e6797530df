import type { DatabaseSync } from 'node:sqlite';
import { type Fault, fault } from '#kit';
import type { LogIdentity } from '../log/record.js';
import type { ReplicaStatus } from '../ports.js';
import type { EngineFace, HistoryAnswer } from './face.js';
import type { History, HistoryRow } from './history.js';

/** What is left of an engine whose log cannot be trusted: no vote, no acknowledgement, no write. The replica can still be read as it was. */
export class StoppedEngine implements EngineFace {
  constructor(
    private readonly why: string,
    private readonly db: DatabaseSync,
    private readonly past: History,
    private readonly identity: LogIdentity,
  ) {}

  submit(): Promise<never> {
    return Promise.reject(this.#fault());
  }

  dryRun(): Promise<never> {
    return Promise.reject(this.#fault());
  }

  barrier(): Promise<never> {
    return Promise.reject(this.#fault());
  }

  submitted(): Promise<never> {
    return Promise.reject(this.#fault());
  }

  compact(): Promise<never> {
    return Promise.reject(this.#fault());
  }

  status(): ReplicaStatus {
    const exists = this.db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'meta'").get() !== undefined;
    const row = exists ? this.db.prepare('SELECT applied, term, durable, schema FROM meta').get() : undefined;
    const { applied, term, durable, schema } = (row ?? { applied: 0, term: 0, durable: 0, schema: 0 }) as Record<
      'applied' | 'term' | 'durable' | 'schema',
      number
    >;
    const { member, cluster } = this.identity;
    return {
      member: { id: member, clusterId: cluster },
      role: 'follower',
      term,
      commit: applied,
      applied,
      durable,
      schema,
      stopped: this.why,
      warnings: [],
    };
  }

  history(query: { from?: number | undefined; limit?: number | undefined; project?: string | undefined }): HistoryAnswer {
    return { rows: this.past.read(query), span: this.past.span() };
  }

  historyEntry(index: number): readonly HistoryRow[] {
    return this.past.entry(index);
  }

  watch(): Disposable {
    return { [Symbol.dispose]: () => {} };
  }

  async ready(): Promise<void> {}

  async transferLeadership(): Promise<boolean> {
    return false;
  }

  async close(): Promise<void> {
    this.past.close();
    this.db.close();
  }

  #fault(): Fault {
    return fault.unavailable('The database of this member has stopped', { detail: this.why });
  }
}

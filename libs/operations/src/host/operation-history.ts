import type { Operation } from '#api-contract';
import type { LocalStore } from '#replica';
import { isFinal, withStatus } from '../model/index.js';

export interface OperationRecord {
  operation: Operation;
  /** '' when the operation belongs to no project. */
  project: string;
}

export interface HistoryLimits {
  rows: number;
  ageMs: number;
}

export const historyLimits: HistoryLimits = { rows: 10_000, ageMs: 7 * 86_400_000 };

/** Between two looks at the number of rows. */
const pruneEvery = 256;

interface Row {
  document: string;
  project: string;
}

/**
 * Operations in local.db: noted when they begin, so that one which died with the daemon is told as failed instead of being forgotten, and kept
 * when they have ended.
 */
export class OperationHistory {
  #sincePrune = 0;

  constructor(
    private readonly local: LocalStore,
    private readonly limits: HistoryLimits = historyLimits,
  ) {
    local.migrate('operations', [
      `CREATE TABLE operations (
         id TEXT NOT NULL PRIMARY KEY,
         project TEXT NOT NULL,
         created_ms INTEGER NOT NULL,
         final INTEGER NOT NULL,
         document TEXT NOT NULL
       ) WITHOUT ROWID`,
      `CREATE INDEX operations_created ON operations (created_ms)`,
    ]);
  }

  save({ operation, project }: OperationRecord): void {
    this.local.run(
      `INSERT INTO operations (id, project, created_ms, final, document) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET final = excluded.final, document = excluded.document`,
      operation.id,
      project,
      Date.parse(operation.created_at),
      isFinal(operation.status_code) ? 1 : 0,
      JSON.stringify(operation),
    );
    if (isFinal(operation.status_code) && ++this.#sincePrune >= pruneEvery) this.#pruneRows();
  }

  get(id: string): OperationRecord | undefined {
    const row = this.local.get<Row>('SELECT document, project FROM operations WHERE id = ? AND final = 1', id);
    return row && parse(row);
  }

  /** Newest first: ids sort by time. */
  list({ projects, limit = this.limits.rows }: { projects?: readonly string[]; limit?: number } = {}): OperationRecord[] {
    const chosen = projects ? `AND project IN (${projects.map(() => '?').join(', ')})` : '';
    const sql = `SELECT document, project FROM operations WHERE final = 1 ${chosen} ORDER BY id DESC LIMIT ?`;
    return this.local.all<Row>(sql, ...(projects ?? []), limit).map(parse);
  }

  /** At start: whatever was under way when the daemon ended has failed. */
  failUnfinished(now: Date): void {
    for (const row of this.local.all<Row>('SELECT document, project FROM operations WHERE final = 0')) {
      const { operation, project } = parse(row);
      this.save({ operation: { ...withStatus(operation, 400, now), may_cancel: false, err: 'Server stopped during the operation' }, project });
    }
  }

  /** Removes what is too old, and what is too many. */
  prune(now: Date): void {
    this.local.run('DELETE FROM operations WHERE final = 1 AND created_ms < ?', now.getTime() - this.limits.ageMs);
    this.#pruneRows();
  }

  #pruneRows(): void {
    this.#sincePrune = 0;
    this.local.run(
      `DELETE FROM operations WHERE final = 1 AND id IN
         (SELECT id FROM operations WHERE final = 1 ORDER BY id DESC LIMIT -1 OFFSET ?)`,
      this.limits.rows,
    );
  }
}

const parse = (row: Row): OperationRecord => ({ operation: JSON.parse(row.document) as Operation, project: row.project });

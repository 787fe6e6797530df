import type { StatementCache } from '../sqlite/statements.js';

export const SUBMITS_KEPT_MS = 10 * 60_000;
export const SUBMITS_KEPT_MAX = 100_000;
/** No submit lives longer than this, and none is forgotten earlier. */
export const SUBMIT_DEADLINE_MAX_MS = 60_000;
/** Pruning is apply's work on every member alike, so it goes by the index. */
const PRUNE_EVERY = 64;

/** The table that makes submits exactly once. Written by apply from the entry's metadata, never recorded by a session. */
export class Submits {
  constructor(private readonly statements: StatementCache) {}

  record(id: string, entry: number, now: number, result: string): void {
    this.statements.prepare('INSERT INTO submits(id, entry, at, result) VALUES (?, ?, ?, ?)').run(id, entry, now, result);
  }

  prune(index: number, now: number): void {
    if (index % PRUNE_EVERY !== 0) return;
    this.statements.prepare('DELETE FROM submits WHERE at < ?').run(now - SUBMITS_KEPT_MS);
    const { n } = this.statements.prepare('SELECT count(*) n FROM submits').get() as { n: number };
    if (n <= SUBMITS_KEPT_MAX) return;
    this.statements
      .prepare('DELETE FROM submits WHERE id IN (SELECT id FROM submits WHERE at < ? ORDER BY at, entry LIMIT ?)')
      .run(now - SUBMIT_DEADLINE_MAX_MS, n - SUBMITS_KEPT_MAX);
  }
}

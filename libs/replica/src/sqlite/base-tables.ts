import type { DatabaseSync } from 'node:sqlite';

/**
 * Tables that the replica itself keeps. `meta` has one row: where this copy stands. It is written by apply alone, never captured.
 * `sequences` is written by handlers (nextId) and travels in their changesets. `submits` and `migrations` are written by apply.
 */
export const BASE_TABLES = `
CREATE TABLE IF NOT EXISTS meta(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  cluster TEXT NOT NULL,
  applied INTEGER NOT NULL DEFAULT 0,
  term INTEGER NOT NULL DEFAULT 0,
  durable INTEGER NOT NULL DEFAULT 0,
  schema INTEGER NOT NULL DEFAULT 0,
  now INTEGER NOT NULL DEFAULT 0,
  configuration TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS sequences(name TEXT NOT NULL PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS submits(id TEXT NOT NULL PRIMARY KEY, entry INTEGER NOT NULL, at INTEGER NOT NULL, result TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS submits_at ON submits(at, entry);
CREATE TABLE IF NOT EXISTS migrations(name TEXT NOT NULL PRIMARY KEY, schema INTEGER NOT NULL, entry INTEGER NOT NULL);
`;

/** Tables that a handler may read and not write. */
export const OWN_TABLES: ReadonlySet<string> = new Set(['meta', 'submits', 'migrations']);

export function createBaseTables(db: DatabaseSync, cluster: string): void {
  db.exec(BASE_TABLES);
  db.prepare('INSERT OR IGNORE INTO meta(id, cluster) VALUES (1, ?)').run(cluster);
}

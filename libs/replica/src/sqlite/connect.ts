import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export const PAGE_BYTES = 4096;

/**
 * One more connection to a database file that is (or becomes) WAL with pages of 4096 bytes. Busy is an error at once: the engine's mutex leaves
 * nothing to wait for. Nothing but SQLite may ever open the file while it is live: closing any descriptor of its `-shm` drops SQLite's locks.
 */
export function connectFile(path: string, foreignKeys: boolean): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const db = new DatabaseSync(path, { timeout: 0, enableForeignKeyConstraints: foreignKeys });
  db.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0`);
  return db;
}

let memories = 0;

/** A database in memory that several connections of this process share, for simulations. It is gone when the last one closes. */
export function memoryDatabase(): (foreignKeys: boolean) => DatabaseSync {
  memories += 1;
  const url = `file:/muster-${memories}?vfs=memdb`;
  return (foreignKeys) => new DatabaseSync(url, { timeout: 0, enableForeignKeyConstraints: foreignKeys });
}

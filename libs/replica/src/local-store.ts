import { DatabaseSync } from 'node:sqlite';
import { faultPoint } from '#kit';
import type { LocalStore } from './ports.js';
import type { SqlValue } from './state/command.js';
import { SqlOn, StatementCache } from './sqlite/statements.js';

class NodeSqliteLocalStore extends SqlOn implements LocalStore {
  constructor(private readonly db: DatabaseSync) {
    super(new StatementCache(db));
  }

  migrate(subject: string, statements: readonly string[]): void {
    this.transaction(() => {
      const done = this.get<{ statements: number }>('SELECT statements FROM local_migrations WHERE subject = ?', subject)?.statements ?? 0;
      for (const statement of statements.slice(done)) this.db.exec(statement);
      this.run(
        'INSERT INTO local_migrations VALUES (?, ?) ON CONFLICT DO UPDATE SET statements = max(statements, excluded.statements)',
        subject,
        statements.length,
      );
    });
  }

  override run(sql: string, ...parameters: SqlValue[]): { changes: number } {
    const result = super.run(sql, ...parameters);
    faultPoint(`local: ${sql} ${String(parameters[0] ?? '')}`);
    return result;
  }

  /** A transaction inside of a transaction is part of the outer one. */
  transaction<T>(work: () => T): T {
    if (this.db.isTransaction) return work();
    this.db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.db.isTransaction) this.db.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    if (this.db.isOpen) this.db.close();
  }
}

/**
 * Opens (or makes) `local.db`. `:memory:` for tests. Every commit is durable when it returns (synchronous FULL): intent rows are written before
 * the work they speak of.
 */
export function openLocalStore(path: string): LocalStore {
  const db = new DatabaseSync(path, { timeout: 5000 });
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
  db.exec('CREATE TABLE IF NOT EXISTS local_migrations(subject TEXT NOT NULL PRIMARY KEY, statements INTEGER NOT NULL) WITHOUT ROWID');
  return new NodeSqliteLocalStore(db);
}

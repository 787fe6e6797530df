import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { StatementCache } from '../sqlite/statements.js';
import type { Gate } from './gate.js';

type Parameter = SQLInputValue | Date | boolean | undefined;

const bound = (parameters: Parameter[]): SQLInputValue[] =>
  parameters.map((value) => {
    if (value === undefined) return null;
    if (typeof value === 'boolean') return value ? 1 : 0;
    return value instanceof Date ? value.toISOString() : value;
  });

/** One statement as TypeORM's better-sqlite3 runner uses it. It holds the text only: preparing is the cache's affair. */
class Statement {
  constructor(
    private readonly owner: NodeSqliteConnection,
    private readonly sql: string,
  ) {}

  /** Whether it answers rows. */
  get reader(): boolean {
    return this.owner.ready(this.sql).columns().length > 0;
  }

  all(...parameters: Parameter[]): unknown[] {
    return this.owner.ready(this.sql).all(...bound(parameters));
  }

  get(...parameters: Parameter[]): unknown {
    return this.owner.ready(this.sql).get(...bound(parameters));
  }

  run(...parameters: Parameter[]): { changes: number | bigint; lastInsertRowid: number | bigint } {
    return this.owner.ready(this.sql).run(...bound(parameters));
  }
}

class NodeSqliteConnection {
  constructor(
    readonly db: DatabaseSync,
    readonly statements: StatementCache,
    private readonly gate: Gate | undefined,
  ) {}

  /** Checked against the gate at each execution, not only when prepared. */
  ready(sql: string): ReturnType<StatementCache['prepare']> {
    this.gate?.check(sql);
    return this.statements.prepare(sql);
  }

  prepare(sql: string): Statement {
    return new Statement(this, sql);
  }

  pragma(text: string): unknown[] {
    return this.db.prepare(`PRAGMA ${text}`).all();
  }

  exec(sql: string): void {
    this.gate?.check(sql);
    this.db.exec(sql);
  }

  close(): void {
    this.db.close();
  }
}

/**
 * node:sqlite in the place of the `better-sqlite3` constructor (TypeORM's `driver` option), over a connection that is open already. TypeORM's
 * own statement cache must be off (`statementCacheSize: 0`): it would run statements past the LRU.
 */
export function nodeSqliteDriver(db: DatabaseSync, statements: StatementCache, gate?: Gate): new () => NodeSqliteConnection {
  return class extends NodeSqliteConnection {
    constructor() {
      super(db, statements, gate);
    }
  };
}

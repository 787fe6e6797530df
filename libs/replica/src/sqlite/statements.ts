import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Sql, SqlValue } from '../state/command.js';

/** Statements are kept, least recently used first out: SQL text with numbers written into it would fill memory otherwise. */
const STATEMENTS_KEPT = 200;

/** Prepared statements of one connection, by their text. */
export class StatementCache {
  readonly #statements = new Map<string, StatementSync>();

  constructor(
    private readonly db: DatabaseSync,
    private readonly limit = STATEMENTS_KEPT,
  ) {}

  prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) {
      this.#statements.delete(sql);
      this.#statements.set(sql, known);
      return known;
    }
    const made = this.db.prepare(sql);
    this.#statements.set(sql, made);
    if (this.#statements.size > this.limit) this.#statements.delete(this.#statements.keys().next().value as string);
    return made;
  }

  clear(): void {
    this.#statements.clear();
  }

  get size(): number {
    return this.#statements.size;
  }
}

/** Plain SQL over one connection. `guard` runs before every statement and may refuse it by throwing. */
export class SqlOn implements Sql {
  constructor(
    private readonly statements: StatementCache,
    private readonly guard: (sql: string) => void = () => {},
  ) {}

  all<T>(sql: string, ...parameters: SqlValue[]): T[] {
    this.guard(sql);
    return this.statements.prepare(sql).all(...(parameters as never[])) as T[];
  }

  get<T>(sql: string, ...parameters: SqlValue[]): T | undefined {
    this.guard(sql);
    return this.statements.prepare(sql).get(...(parameters as never[])) as T | undefined;
  }

  run(sql: string, ...parameters: SqlValue[]): { changes: number } {
    this.guard(sql);
    return { changes: Number(this.statements.prepare(sql).run(...(parameters as never[])).changes) };
  }
}

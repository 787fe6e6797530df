import type { DatabaseSync } from 'node:sqlite';
import type { TableShape } from '../codec/describe.js';
import type { StateWing } from '../state/command.js';

/** Columns and secrets of the tables as they are now, looked up once per schema. */
export class Shapes {
  readonly #known = new Map<string, TableShape>();

  constructor(
    private readonly db: DatabaseSync,
    private readonly wings: readonly StateWing[],
  ) {}

  of = (table: string): TableShape => {
    const known = this.#known.get(table);
    if (known) return known;
    const columns = (this.db.prepare('SELECT name FROM pragma_table_info(?) ORDER BY cid').all(table) as { name: string }[]).map((row) => row.name);
    const secrets = Object.fromEntries(
      this.wings
        .flatMap((wing) => wing.secrets ?? [])
        .filter((secret) => secret.table === table)
        .map(({ column, keys }) => [column, keys ?? (true as const)]),
    );
    const shape: TableShape = { columns, secrets };
    this.#known.set(table, shape);
    return shape;
  };

  /** After a migration or an install. */
  forget(): void {
    this.#known.clear();
  }
}

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryReplica } from '#testkit';
import { schema } from './schema.js';

interface Column {
  name: string;
  notnull: number;
  pk: number;
}

/** Rules of the engine that SQLite does not enforce: each of them, broken, loses rows in silence. */
describe('the schema', () => {
  let replica: MemoryReplica;
  let tables: { name: string; sql: string }[];

  beforeAll(async () => {
    replica = await MemoryReplica.open({ wings: schema });
    tables = replica.reader.all(`SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`);
  });
  afterAll(() => replica.close());

  it('has no triggers, no virtual tables, no AUTOINCREMENT', () => {
    expect(replica.reader.all(`SELECT name FROM sqlite_schema WHERE type = 'trigger'`)).toEqual([]);
    for (const { name, sql } of tables) expect(sql, name).not.toMatch(/AUTOINCREMENT|CREATE VIRTUAL/i);
  });

  it('has a primary key in every table, of NOT NULL columns with binary collation', () => {
    for (const { name, sql } of tables) {
      const key = replica.reader.all<Column>(`SELECT name, "notnull", pk FROM pragma_table_info(?) WHERE pk > 0`, name);
      expect(key, name).not.toEqual([]);
      // An INTEGER PRIMARY KEY is the row's id, which is never NULL.
      const isRowId = key.length === 1 && new RegExp(`\\b${key[0]!.name} INTEGER (NOT NULL )?PRIMARY KEY`, 'i').test(sql);
      if (!isRowId) for (const column of key) expect(column.notnull, `${name}.${column.name}`).toBe(1);
      expect(sql, name).not.toMatch(/COLLATE\s+(?!BINARY)/i);
    }
  });

  it('names every command, migration and table once', () => {
    for (const names of [
      schema.flatMap(({ commands }) => commands.map(({ name }) => name)),
      schema.flatMap(({ migrations }) => migrations.map(({ name }) => name)),
    ]) {
      expect(new Set(names).size).toBe(names.length);
    }
  });

  it('has an entity for every table of a subject, and a table for every entity', async () => {
    const { getMetadataArgsStorage } = await import('typeorm');
    const own = new Set(['meta', 'sequences', 'submits', 'migrations']);
    const entities = new Set<unknown>(schema.flatMap((wing) => wing.entities));
    const named = getMetadataArgsStorage()
      .tables.filter(({ target }) => entities.has(target))
      .map(({ name }) => name);
    expect([...named].sort()).toEqual(
      tables
        .map(({ name }) => name)
        .filter((name) => !own.has(name))
        .sort(),
    );
  });
});

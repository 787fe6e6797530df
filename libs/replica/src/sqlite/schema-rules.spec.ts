import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { createBaseTables } from './base-tables.js';
import { schemaBreaches } from './schema-rules.js';

const breachesOf = (sql: string): string[] => {
  const db = new DatabaseSync(':memory:');
  createBaseTables(db, 'c');
  db.exec(sql);
  return schemaBreaches(db);
};
/** Bytes that a session captures of this work. */
const captured = (schema: string, work: string): number => {
  const db = new DatabaseSync(':memory:');
  db.exec(schema);
  const session = db.createSession();
  db.exec(work);
  return session.changeset().length;
};

describe('the schema rules', () => {
  it('find nothing wrong with the replica’s own tables and an ordinary one', () => {
    expect(
      breachesOf(
        'CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE); CREATE TABLE u(a TEXT NOT NULL, b INTEGER NOT NULL, PRIMARY KEY(a, b)) WITHOUT ROWID',
      ),
    ).toEqual([]);
  });

  it('refuse a table without a primary key, of which SQLite captures nothing and says nothing', () => {
    expect(captured('CREATE TABLE t(a TEXT)', "INSERT INTO t VALUES ('x')")).toBe(0);
    expect(breachesOf('CREATE TABLE t(a TEXT)')).toEqual(['t has no primary key']);
  });

  it('refuse a key that may be NULL, for such rows are not captured', () => {
    expect(captured('CREATE TABLE t(a TEXT PRIMARY KEY, b TEXT)', "INSERT INTO t VALUES (NULL, 'x')")).toBe(0);
    expect(breachesOf('CREATE TABLE t(a TEXT PRIMARY KEY, b TEXT)')).toEqual(['key column t.a may be NULL']);
  });

  it('refuse a key with another collation', () => {
    expect(breachesOf('CREATE TABLE t(a TEXT NOT NULL COLLATE NOCASE PRIMARY KEY)')).toEqual(['key column t.a collates NOCASE']);
  });

  it.each([
    ['CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT)', 't uses AUTOINCREMENT'],
    ['CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END', 'g is a trigger'],
    ['CREATE VIRTUAL TABLE v USING fts5(a)', 'v is a virtual table'],
    ['CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER GENERATED ALWAYS AS (id + 1))', 't has a generated column'],
    ['CREATE TABLE t(id INTEGER PRIMARY KEY, p INTEGER REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED)', 't has a deferred foreign key'],
  ])('refuse %s', (sql, breach) => expect(breachesOf(sql)).toContain(breach));
});

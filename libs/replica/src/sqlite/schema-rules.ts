import type { DatabaseSync } from 'node:sqlite';

interface Column {
  name: string;
  type: string;
  notnull: number;
  pk: number;
  hidden: number;
}

/**
 * What a schema may not have, because a changeset would lose it, in silence or on every member: tables without a primary key and NULL in a key
 * are not captured at all; NOCASE keys, triggers and virtual tables fail to apply; AUTOINCREMENT and generated columns are not carried; a
 * deferred foreign key would be checked at a commit that never comes. Answers one sentence for each breach.
 */
export function schemaBreaches(db: DatabaseSync): string[] {
  const things = db.prepare("SELECT type, name, coalesce(sql, '') AS sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").all() as {
    type: string;
    name: string;
    sql: string;
  }[];
  return things.flatMap(({ type, name, sql }) => {
    if (type === 'trigger') return [`${name} is a trigger`];
    if (type !== 'table') return [];
    if (/^\s*CREATE\s+VIRTUAL/i.test(sql)) return [`${name} is a virtual table`];
    return tableBreaches(db, name, sql);
  });
}

function tableBreaches(db: DatabaseSync, table: string, sql: string): string[] {
  const columns = db.prepare('SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?)').all(table) as unknown as Column[];
  const key = columns.filter((column) => column.pk > 0);
  const breaches: string[] = [];
  if (key.length === 0) breaches.push(`${table} has no primary key`);
  // An INTEGER PRIMARY KEY is the rowid, and never NULL whatever its declaration says.
  const isRowid = key.length === 1 && key[0]?.type.toUpperCase() === 'INTEGER';
  if (!isRowid) breaches.push(...key.filter((column) => column.notnull === 0).map((column) => `key column ${table}.${column.name} may be NULL`));
  if (columns.some((column) => column.hidden !== 0)) breaches.push(`${table} has a generated column`);
  if (/\bAUTOINCREMENT\b/i.test(sql)) breaches.push(`${table} uses AUTOINCREMENT`);
  if (/\bDEFERRABLE\s+INITIALLY\s+DEFERRED\b/i.test(sql)) breaches.push(`${table} has a deferred foreign key`);
  return [...breaches, ...collationBreaches(db, table)];
}

/** Keys as SQLite has them: the collation of each column of the primary key's index. */
function collationBreaches(db: DatabaseSync, table: string): string[] {
  const indices = db.prepare("SELECT name FROM pragma_index_list(?) WHERE origin = 'pk'").all(table) as { name: string }[];
  return indices.flatMap(({ name }) =>
    (db.prepare("SELECT name, coll FROM pragma_index_xinfo(?) WHERE key = 1 AND coll <> 'BINARY'").all(name) as { name: string; coll: string }[]).map(
      (column) => `key column ${table}.${column.name} collates ${column.coll}`,
    ),
  );
}

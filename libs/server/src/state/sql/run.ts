import { fault } from '#kit';
import type { Reader } from '#replica/state';
import { withViews, type SqlViews } from './views.js';

/** A statement's outcome, in the names that LXD's `lxd sql` reads. */
export interface SqlResult {
  type: 'select' | 'exec';
  columns: string[];
  rows: unknown[][];
  rows_affected: number;
}

export const isSelect = (statement: string): boolean => /^\s*(select|with|explain|values)\b/i.test(statement);

/** @throws Fault invalid, with SQLite's sentence */
export function runSelect(reader: Reader, select: string, views: SqlViews): SqlResult {
  const { text, rows } = tried(() => rowsOf(reader, withViews(select, views)));
  // An empty result has no first row to tell its columns: an outer join brings one of NULLs.
  const columns = Object.keys(
    rows[0] ?? tried(() => reader.all<Record<string, unknown>>(`SELECT q.* FROM (SELECT 1) LEFT JOIN (${text}) q`))[0] ?? {},
  );
  return { type: 'select', columns, rows: rows.map((row) => columns.map((column) => shownValue(row[column]))), rows_affected: 0 };
}

/** LXD's SQLite takes a word in double quotes that names no column for a string, and its users rely on that. */
function rowsOf(reader: Reader, text: string): { text: string; rows: Record<string, unknown>[] } {
  try {
    return { text, rows: reader.all<Record<string, unknown>>(text) };
  } catch (error) {
    const word = /^no such column: "([^"]*)"/.exec((error as Error).message)?.[1];
    if (word === undefined) throw error;
    return rowsOf(reader, text.replaceAll(`"${word}"`, `'${word.replaceAll("'", "''")}'`));
  }
}

export function tried<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw fault.invalid(`Failed to execute query: ${(error as Error).message}`, { status: 500 });
  }
}

const shownValue = (value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : typeof value === 'bigint' ? Number(value) : value;

/** Statements apart by semicolons, those inside quotes not counted. */
export function statementsOf(query: string): string[] {
  return (query.match(/(?:'(?:[^']|'')*'|"(?:[^"]|"")*"|[^;'"]|['"])+?(?=;|$)/gs) ?? [])
    .map((one) => one.replace(/^;/, '').trim())
    .filter((one) => one !== '');
}

/** The database as statements that would make it again. `hidden` columns (`table.column`) are left out of the rows. */
export function dump(reader: Reader, schemaOnly: boolean): string {
  const objects = reader.all<{ type: string; name: string; sql: string }>(
    "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type = 'table' DESC, name",
  );
  const lines = ['PRAGMA foreign_keys=OFF;', 'BEGIN TRANSACTION;'];
  for (const { type, name, sql } of objects) {
    lines.push(`${sql};`);
    if (type !== 'table' || schemaOnly) continue;
    const table = quoted(name);
    const columns = reader.all<{ name: string }>('SELECT name FROM pragma_table_info(?)', name).map((column) => `quote(${quoted(column.name)})`);
    for (const { row } of reader.all<{ row: string }>(`SELECT ${columns.join(" || ',' || ")} AS row FROM ${table}`))
      lines.push(`INSERT INTO ${table} VALUES(${row});`);
  }
  return `${[...lines, 'COMMIT;'].join('\n')}\n`;
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

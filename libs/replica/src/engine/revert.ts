import { fault } from '#kit';
import { parse, type Change, type Row, type TableChanges, type Value } from '../codec/changeset.js';
import { invert } from '../codec/encode.js';
import { type CommandContext, defineCommand, type Reader, type Sql, type SqlValue } from '../state/command.js';

/** Ids are never given twice, so a sequence does not go back with what it numbered. */
const NEVER_REVERTED: ReadonlySet<string> = new Set(['sequences']);

const SQLITE_CONSTRAINT = 19;

export interface RevertPayload {
  /** Of the entry that is taken back, for the words only. */
  readonly index: number;
  readonly project: string;
  /** Its changesets, base64, in the order in which they were made. */
  readonly changesets: readonly string[];
}

const plain = (value: Value): SqlValue => (value.type === 'null' ? null : value.value);
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function columnsOf(reader: Reader, table: string): string[] {
  return reader.all<{ name: string }>('SELECT name FROM pragma_table_info(?) ORDER BY cid', table).map(({ name }) => name);
}

/** `a IS ? AND b IS ?` over the columns of which the row says something. */
function where(columns: readonly string[], row: Row, wanted: (n: number) => boolean): { sql: string; values: SqlValue[] } {
  const terms: string[] = [];
  const values: SqlValue[] = [];
  row.forEach((value, n) => {
    if (!value || !wanted(n)) return;
    terms.push(`${quoted(columns[n] as string)} IS ?`);
    values.push(plain(value));
  });
  return { sql: terms.join(' AND '), values };
}

/** Whether the row is as the inverse expects to find it. */
function unchanged(reader: Reader, section: TableChanges, columns: readonly string[], change: Change): boolean {
  const expected = change.op === 'insert' ? change.after : change.before;
  const isKey = (n: number): boolean => (section.keyMask[n] ?? 0) > 0;
  const { sql, values } = where(columns, expected, change.op === 'insert' ? isKey : () => true);
  const found = reader.get(`SELECT 1 FROM ${quoted(section.table)} WHERE ${sql}`, ...values) !== undefined;
  return change.op === 'insert' ? !found : found;
}

function keyWords(section: TableChanges, change: Change): string {
  const row = change.op === 'insert' ? change.after : change.before;
  return `${section.table} ${row.flatMap((value, n) => (value && (section.keyMask[n] ?? 0) > 0 ? [String(plain(value))] : [])).join('/')}`;
}

/** The inverse of a changeset, without what is never taken back. */
export function inverseOf(changeset: Uint8Array): TableChanges[] {
  return invert(parse(changeset)).filter(({ table }) => !NEVER_REVERTED.has(table));
}

/** Rows that are not as they were left. Empty: the inverse can be had. */
export function conflictsOf(reader: Reader, inverse: readonly TableChanges[]): string[] {
  return inverse.flatMap((section) => {
    const columns = columnsOf(reader, section.table);
    if (columns.length < section.columns) return [`${section.table} is not there any more`];
    return section.changes.filter((change) => !unchanged(reader, section, columns, change)).map((change) => keyWords(section, change));
  });
}

/** Tables so that one that refers to another comes after it. */
function parentsFirst(reader: Reader, sections: readonly TableChanges[]): TableChanges[] {
  const left = new Map(sections.map((section) => [section.table, section]));
  const sorted: TableChanges[] = [];
  const visit = (section: TableChanges): void => {
    if (!left.delete(section.table)) return;
    for (const { parent } of reader.all<{ parent: string }>('SELECT "table" AS parent FROM pragma_foreign_key_list(?)', section.table)) {
      const other = left.get(parent);
      if (other) visit(other);
    }
    sorted.push(section);
  };
  for (const section of sections) visit(section);
  return sorted;
}

function write(sql: Sql, section: TableChanges, columns: readonly string[], change: Change): void {
  const table = quoted(section.table);
  const isKey = (n: number): boolean => (section.keyMask[n] ?? 0) > 0;
  if (change.op === 'delete') {
    const { sql: key, values } = where(columns, change.before, isKey);
    sql.run(`DELETE FROM ${table} WHERE ${key}`, ...values);
    return;
  }
  const given = change.after.flatMap((value, n) => (value ? [{ name: quoted(columns[n] as string), value: plain(value) }] : []));
  const values = given.map(({ value }) => value);
  if (change.op === 'insert') {
    sql.run(`INSERT INTO ${table} (${given.map(({ name }) => name).join(', ')}) VALUES (${given.map(() => '?').join(', ')})`, ...values);
    return;
  }
  const key = where(columns, change.before, isKey);
  sql.run(`UPDATE ${table} SET ${given.map(({ name }) => `${name} = ?`).join(', ')} WHERE ${key.sql}`, ...values, ...key.values);
}

const totalChanges = (reader: Reader): number => reader.get<{ n: number }>('SELECT total_changes() AS n')?.n ?? 0;

/** Inserts and updates parents first, then deletions children first: so foreign keys are never broken on the way. */
function takeBack(sql: Sql, inverse: readonly TableChanges[]): void {
  const sections = parentsFirst(sql, inverse);
  const step = (section: TableChanges, wanted: (change: Change) => boolean): void => {
    const columns = columnsOf(sql, section.table);
    for (const change of section.changes.filter(wanted)) {
      const before = totalChanges(sql);
      write(sql, section, columns, change);
      // A cascade would take rows along that were added since.
      if (totalChanges(sql) - before > 1) throw fault.conflict(`Other rows now depend on ${keyWords(section, change)}`);
    }
  };
  for (const section of sections) step(section, (change) => change.op === 'insert');
  for (const section of sections) step(section, (change) => change.op === 'update');
  for (const section of sections.toReversed()) step(section, (change) => change.op === 'delete');
}

/** Takes one command, or all of an entry, back: as a command like any other, with the history and the dry run of one. */
export const revertCommand = defineCommand<RevertPayload>({
  name: 'history.revert',
  run: ({ sql }: CommandContext, { index, changesets }) => {
    for (const changeset of changesets.toReversed()) {
      const inverse = inverseOf(Buffer.from(changeset, 'base64'));
      const conflicts = conflictsOf(sql, inverse);
      if (conflicts.length > 0) {
        throw fault.conflict(`Entry ${index} cannot be reverted: changed since are ${conflicts.slice(0, 10).join(', ')}`, {
          metadata: { conflicts },
        });
      }
      try {
        takeBack(sql, inverse);
      } catch (error) {
        if (((error as { errcode?: number }).errcode ?? 0) % 256 === SQLITE_CONSTRAINT) {
          throw fault.conflict(`Entry ${index} cannot be reverted: other rows stand in the way`, { cause: error });
        }
        throw error;
      }
    }
  },
});

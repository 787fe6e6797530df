import type { Effect } from '../ports.js';
import type { Row, TableChanges, Value } from './changeset.js';

/** What the codec must know of a table to speak of it by names: its columns in order, and which of their values nobody may see. */
export interface TableShape {
  readonly columns: readonly string[];
  /** Column → true for the whole of it, or the keys of its JSON map that are secret. */
  readonly secrets?: Readonly<Record<string, true | readonly string[]>>;
}

export const HIDDEN = '<hidden>';

function plain(value: Value): unknown {
  if (value.type === 'null') return null;
  if (value.type === 'integer') return Number.isSafeInteger(Number(value.value)) ? Number(value.value) : value.value.toString();
  if (value.type === 'blob') return Buffer.from(value.value).toString('base64');
  return value.value;
}

function shown(value: Value, secret: true | readonly string[] | undefined): unknown {
  if (secret === undefined || value.type === 'null') return plain(value);
  if (secret === true || value.type !== 'text') return HIDDEN;
  try {
    const map = JSON.parse(value.value) as Record<string, unknown>;
    for (const key of secret) if (key in map) map[key] = HIDDEN;
    return JSON.stringify(map);
  } catch {
    return HIDDEN;
  }
}

function record(row: Row, shape: TableShape): Record<string, unknown> {
  const named: Record<string, unknown> = {};
  row.forEach((value, n) => {
    const name = shape.columns[n] ?? `column${n}`;
    if (value) named[name] = shown(value, shape.secrets?.[name]);
  });
  return named;
}

/** Rows touched, in words. Of an updated row: its key and what changed. */
export function describe(tables: readonly TableChanges[], shapeOf: (table: string) => TableShape): Effect[] {
  return tables.flatMap(({ table, keyMask, changes }) => {
    const shape = shapeOf(table);
    return changes.map((change): Effect => {
      if (change.op === 'insert') return { entity: table, action: 'create', before: null, after: record(change.after, shape) };
      if (change.op === 'delete') return { entity: table, action: 'delete', before: record(change.before, shape), after: null };
      const after = change.after.map((value, n) => value ?? ((keyMask[n] ?? 0) > 0 ? change.before[n] : undefined));
      return { entity: table, action: 'update', before: record(change.before, shape), after: record(after, shape) };
    });
  });
}

/** Tables touched, with the keys of their rows; keys of several columns are joined by a slash. */
export function touched(tables: readonly TableChanges[]): { table: string; ids: (string | number)[] }[] {
  return tables.map(({ table, keyMask, changes }) => ({
    table,
    ids: changes.map((change) => {
      const row = change.op === 'insert' ? change.after : change.before;
      const parts = row.flatMap((value, n) => ((keyMask[n] ?? 0) > 0 && value ? [plain(value)] : []));
      return parts.length === 1 ? (parts[0] as string | number) : parts.join('/');
    }),
  }));
}

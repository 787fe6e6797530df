/**
 * SQLite's changeset format, read and written (node:sqlite applies changesets, but can neither walk nor invert them). Source: the
 * documentation in SQLite's sqlite3session.c, "CHANGESET BLOB FORMAT". A changeset is a row of table sections:
 *
 *   'T' varint(columns) mask[columns] name NUL      then changes of this table:
 *   op(18 INSERT | 9 DELETE | 23 UPDATE) indirect(0|1) record…
 *
 * INSERT has the new row, DELETE the old one, UPDATE both: old (key columns and old values of what changed), new (what changed). A value is
 * a type byte (0 absent, 1 integer, 2 float, 3 text, 4 blob, 5 NULL) and its bytes, integers and floats as 8 bytes big-endian.
 */
export type Value =
  | { readonly type: 'integer'; readonly value: bigint }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'text'; readonly value: string }
  | { readonly type: 'blob'; readonly value: Uint8Array }
  | { readonly type: 'null' };

/** `undefined` where an UPDATE says nothing of a column. */
export type Row = readonly (Value | undefined)[];

export interface TableHeader {
  readonly table: string;
  readonly columns: number;
  /** For each column its place in the primary key, from 1; 0 outside of it. */
  readonly keyMask: readonly number[];
}

export type Change = { readonly indirect: boolean } & (
  | { readonly op: 'insert'; readonly after: Row }
  | { readonly op: 'delete'; readonly before: Row }
  | { readonly op: 'update'; readonly before: Row; readonly after: Row }
);

export interface TableChanges extends TableHeader {
  readonly changes: readonly Change[];
}

/** The bytes are not a changeset. Behind a checksum this means a wrong program, not a wrong disk. */
export class MalformedChangeset extends Error {
  constructor(what: string, offset: number) {
    super(`malformed changeset: ${what} at byte ${offset}`);
    this.name = 'MalformedChangeset';
  }
}

const INSERT = 18;
const DELETE = 9;
const UPDATE = 23;
const TABLE = 0x54;
// fatal: a text that is not UTF-8 could not be written back as it was.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Source {
  #at = 0;
  readonly #view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get at(): number {
    return this.#at;
  }

  get done(): boolean {
    return this.#at >= this.bytes.length;
  }

  byte(): number {
    const value = this.bytes[this.#at];
    if (value === undefined) throw new MalformedChangeset('ends early', this.#at);
    this.#at += 1;
    return value;
  }

  peek(): number | undefined {
    return this.bytes[this.#at];
  }

  take(length: number): Uint8Array {
    if (length < 0 || this.#at + length > this.bytes.length) throw new MalformedChangeset('ends early', this.#at);
    const part = this.bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }

  /** SQLite's varint: big-endian groups of seven bits; lengths here never need the ninth byte. */
  varint(): number {
    let value = 0;
    for (let n = 0; n < 8; n += 1) {
      const byte = this.byte();
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) return value;
    }
    throw new MalformedChangeset('a length beyond reason', this.#at);
  }

  eight(): { offset: number; view: DataView } {
    const offset = this.#at;
    this.take(8);
    return { offset, view: this.#view };
  }
}

function text(bytes: Uint8Array, at: number): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new MalformedChangeset('text that is not UTF-8', at);
  }
}

function readValue(source: Source): Value | undefined {
  const type = source.byte();
  switch (type) {
    case 0:
      return undefined;
    case 1: {
      const { view, offset } = source.eight();
      return { type: 'integer', value: view.getBigInt64(offset) };
    }
    case 2: {
      const { view, offset } = source.eight();
      return { type: 'float', value: view.getFloat64(offset) };
    }
    case 3:
      return { type: 'text', value: text(source.take(source.varint()), source.at) };
    case 4:
      return { type: 'blob', value: source.take(source.varint()) };
    case 5:
      return { type: 'null' };
    default:
      throw new MalformedChangeset(`value type ${type}`, source.at);
  }
}

function readRow(source: Source, columns: number): Row {
  const row: (Value | undefined)[] = [];
  for (let n = 0; n < columns; n += 1) row.push(readValue(source));
  return row;
}

function readHeader(source: Source): TableHeader {
  const columns = source.varint();
  if (columns === 0 || columns > 32_767) throw new MalformedChangeset(`a table of ${columns} columns`, source.at);
  const keyMask = [...source.take(columns)];
  const name: number[] = [];
  for (let byte = source.byte(); byte !== 0; byte = source.byte()) name.push(byte);
  return { table: text(Uint8Array.from(name), source.at), columns, keyMask };
}

function readChange(source: Source, op: number, columns: number): Change {
  const indirect = source.byte() !== 0;
  switch (op) {
    case INSERT:
      return { op: 'insert', indirect, after: readRow(source, columns) };
    case DELETE:
      return { op: 'delete', indirect, before: readRow(source, columns) };
    case UPDATE:
      return { op: 'update', indirect, before: readRow(source, columns), after: readRow(source, columns) };
    default:
      throw new MalformedChangeset(`operation ${op}`, source.at);
  }
}

/** @throws MalformedChangeset. Blobs are views of `bytes`, not copies. */
export function parse(bytes: Uint8Array): TableChanges[] {
  const source = new Source(bytes);
  const tables: (TableHeader & { changes: Change[] })[] = [];
  while (!source.done) {
    const op = source.byte();
    const current = tables.at(-1);
    if (op === TABLE) tables.push({ ...readHeader(source), changes: [] });
    else if (current) current.changes.push(readChange(source, op, current.columns));
    else throw new MalformedChangeset('a change outside of a table', source.at);
  }
  return tables;
}

/** Only the table headers: what apply compares with its own schema before it lets SQLite near the bytes. */
export function headers(bytes: Uint8Array): TableHeader[] {
  return parse(bytes).map(({ table, columns, keyMask }) => ({ table, columns, keyMask }));
}

import type { Change, Row, TableChanges, Value } from './changeset.js';

const OPS = { insert: 18, delete: 9, update: 23 } as const;
const utf8 = new TextEncoder();

class Sink {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  #room(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  byte(value: number): void {
    this.#room(1);
    this.#bytes[this.#length++] = value;
  }

  put(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  varint(value: number): void {
    const groups = [value % 128];
    for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) groups.push((rest % 128) | 0x80);
    for (const group of groups.reverse()) this.byte(group);
  }

  integer(value: bigint): void {
    this.#room(8);
    this.#view.setBigInt64(this.#length, value);
    this.#length += 8;
  }

  float(value: number): void {
    this.#room(8);
    this.#view.setFloat64(this.#length, value);
    this.#length += 8;
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

function putValue(sink: Sink, value: Value | undefined): void {
  switch (value?.type) {
    case undefined:
      return sink.byte(0);
    case 'integer':
      sink.byte(1);
      return sink.integer(value.value);
    case 'float':
      sink.byte(2);
      return sink.float(value.value);
    case 'text': {
      const bytes = utf8.encode(value.value);
      sink.byte(3);
      sink.varint(bytes.length);
      return sink.put(bytes);
    }
    case 'blob':
      sink.byte(4);
      sink.varint(value.value.length);
      return sink.put(value.value);
    case 'null':
      return sink.byte(5);
  }
}

function putRow(sink: Sink, row: Row): void {
  for (const value of row) putValue(sink, value);
}

function putChange(sink: Sink, change: Change): void {
  sink.byte(OPS[change.op]);
  sink.byte(change.indirect ? 1 : 0);
  if (change.op !== 'insert') putRow(sink, change.before);
  if (change.op !== 'delete') putRow(sink, change.after);
}

/** The bytes of a changeset: the way back from `parse`. */
export function encode(tables: readonly TableChanges[]): Uint8Array {
  const sink = new Sink();
  for (const { table, columns, keyMask, changes } of tables) {
    sink.byte(0x54);
    sink.varint(columns);
    sink.put(Uint8Array.from(keyMask));
    sink.put(utf8.encode(table));
    sink.byte(0);
    for (const change of changes) putChange(sink, change);
  }
  return sink.done();
}

function inverted(change: Change, keyMask: readonly number[]): Change {
  if (change.op === 'insert') return { op: 'delete', indirect: change.indirect, before: change.after };
  if (change.op === 'delete') return { op: 'insert', indirect: change.indirect, after: change.before };
  // The key stands in the old row only, on both sides of an inversion.
  const key = (n: number): boolean => (keyMask[n] ?? 0) > 0;
  const before = change.after.map((value, n) => (key(n) ? change.before[n] : value));
  const after = change.before.map((value, n) => (key(n) ? undefined : value));
  return { op: 'update', indirect: change.indirect, before, after };
}

/** The changeset that takes this one back. */
export function invert(tables: readonly TableChanges[]): TableChanges[] {
  return tables.map((section) => ({ ...section, changes: section.changes.map((change) => inverted(change, section.keyMask)) }));
}

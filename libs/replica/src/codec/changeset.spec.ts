import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { describe as suite, expect, it } from 'vitest';
import { headers, MalformedChangeset, parse } from './changeset.js';
import { crc32c } from './crc32c.js';
import { describe, touched } from './describe.js';
import { encode, invert } from './encode.js';

const SCHEMA = `
  CREATE TABLE plain(id INTEGER PRIMARY KEY, a, b, c);
  CREATE TABLE pair(x TEXT NOT NULL, y INTEGER NOT NULL, v, PRIMARY KEY(x, y)) WITHOUT ROWID;
  CREATE TABLE late(v, id INTEGER PRIMARY KEY);
`;
const fresh = (): DatabaseSync => {
  const db = new DatabaseSync(':memory:');
  db.exec(SCHEMA);
  return db;
};
const dump = (db: DatabaseSync): string =>
  JSON.stringify(
    ['plain', 'pair', 'late'].map((table) => {
      const statement = db.prepare(`SELECT * FROM ${table}`);
      statement.setReadBigInts(true);
      return statement.all();
    }),
    (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value instanceof Uint8Array ? `x${Buffer.from(value).toString('hex')}` : value),
  );

const value = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
  fc.uint8Array({ maxLength: 300 }),
  fc.constant(null),
);
const key = fc.integer({ min: 1, max: 12 });
const statement = fc.oneof(
  fc.tuple(key, value, value, value).map(([id, a, b, c]) => ['INSERT OR REPLACE INTO plain VALUES (?, ?, ?, ?)', id, a, b, c]),
  fc.tuple(value, key).map(([a, id]) => ['UPDATE plain SET a = ? WHERE id = ?', a, id]),
  fc.tuple(key, key).map(([to, id]) => ['UPDATE OR IGNORE plain SET id = ? WHERE id = ?', to, id]),
  fc.tuple(key).map(([id]) => ['DELETE FROM plain WHERE id = ?', id]),
  fc.tuple(fc.constantFrom('k', 'ключ', ''), key, value).map(([x, y, v]) => ['INSERT OR REPLACE INTO pair VALUES (?, ?, ?)', x, y, v]),
  fc.tuple(fc.constantFrom('k', 'ключ', ''), key).map(([x, y]) => ['DELETE FROM pair WHERE x = ? AND y = ?', x, y]),
  fc.tuple(value, key).map(([v, id]) => ['INSERT OR REPLACE INTO late VALUES (?, ?)', v, id]),
);
const run = (db: DatabaseSync, statements: readonly unknown[][]): Uint8Array => {
  const session = db.createSession();
  for (const [sql, ...parameters] of statements) db.prepare(sql as string).run(...(parameters as never[]));
  const changeset = session.changeset();
  session.close();
  return changeset;
};

suite('the codec, against SQLite', () => {
  it('writes back exactly what it reads', () => {
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 12 }), fc.array(statement, { maxLength: 12 }), (first, second) => {
        const db = fresh();
        run(db, first);
        const changeset = run(db, second);
        expect(Buffer.from(encode(parse(changeset))).equals(Buffer.from(changeset))).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('makes inverses that SQLite applies, and that bring back every row', () => {
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 12 }), fc.array(statement, { maxLength: 12 }), (first, second) => {
        const db = fresh();
        run(db, first);
        const before = dump(db);
        const changeset = run(db, second);
        const after = dump(db);
        const inverse = encode(invert(parse(changeset)));
        if (inverse.length > 0) expect(db.applyChangeset(inverse)).toBe(true);
        expect(dump(db)).toBe(before);
        const again = encode(invert(invert(parse(changeset))));
        if (again.length > 0) expect(db.applyChangeset(again)).toBe(true);
        expect(dump(db)).toBe(after);
      }),
      { numRuns: 150 },
    );
  });

  it('names tables, column counts and keys', () => {
    const changeset = run(fresh(), [['INSERT INTO late VALUES (1, 2)'], ['INSERT INTO pair VALUES (?, 3, 4)', 'k']]);
    expect(headers(changeset).map(({ table, columns, keyMask }) => [table, columns, keyMask.map((n) => n > 0)])).toEqual([
      ['late', 2, [false, true]],
      ['pair', 3, [true, true, false]],
    ]);
  });

  it('tells in words what changed, and hides what is secret', () => {
    const db = fresh();
    run(db, [
      ['INSERT INTO plain VALUES (1, ?, 2, 3)', '{"a":"b","password":"geheim"}'],
      ['INSERT INTO pair VALUES (?, 3, 4)', 'k'],
    ]);
    const changeset = run(db, [['UPDATE plain SET a = ?, b = 5 WHERE id = 1', '{"password":"neu"}'], ['DELETE FROM pair']]);
    const shapes = {
      plain: { columns: ['id', 'a', 'b', 'c'], secrets: { a: ['password'] } },
      pair: { columns: ['x', 'y', 'v'], secrets: { v: true as const } },
    };
    expect(describe(parse(changeset), (table) => shapes[table as keyof typeof shapes])).toEqual([
      {
        entity: 'plain',
        action: 'update',
        before: { id: 1, a: '{"a":"b","password":"<hidden>"}', b: 2 },
        after: { id: 1, a: '{"password":"<hidden>"}', b: 5 },
      },
      { entity: 'pair', action: 'delete', before: { x: 'k', y: 3, v: '<hidden>' }, after: null },
    ]);
    expect(touched(parse(changeset))).toEqual([
      { table: 'plain', ids: [1] },
      { table: 'pair', ids: ['k/3'] },
    ]);
  });

  it('refuses bytes that are no changeset', () => {
    const changeset = run(fresh(), [['INSERT INTO plain VALUES (1, 2, 3, 4)']]);
    for (let cut = 1; cut < changeset.length; cut += 1) {
      const part = changeset.subarray(0, cut);
      // A cut between two changes is a whole changeset with less in it; everywhere else it is none.
      const outcome = (): number => parse(part).reduce((sum, table) => sum + table.changes.length, 0);
      try {
        expect(outcome()).toBe(0);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedChangeset);
      }
    }
    expect(() => parse(Uint8Array.of(99))).toThrow(MalformedChangeset);
  });
});

suite('CRC32C', () => {
  it('is the one of RFC 3720', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  });

  it('goes on from where it was, and notices every flipped bit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(), fc.nat(7), (bytes, at, bit) => {
        const whole = crc32c(bytes);
        const cut = at % bytes.length;
        expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(whole);
        const flipped = Uint8Array.from(bytes);
        flipped[cut] = (flipped[cut] as number) ^ (1 << bit);
        expect(crc32c(flipped)).not.toBe(whole);
      }),
    );
  });
});

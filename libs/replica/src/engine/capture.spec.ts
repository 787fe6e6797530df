import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from '../codec/changeset.js';
import { createBaseTables } from '../sqlite/base-tables.js';
import { memoryDatabase } from '../sqlite/connect.js';
import { runMigration } from '../sqlite/migrate.js';
import { type Command, type CommandContext, defineCommand, internalIdentity } from '../state/command.js';
import { Capture, CaptureBroken } from './capture.js';
import { Pet, petsWing } from './testing/fixture.js';

describe('the capture', () => {
  let db: DatabaseSync;
  let capture: Capture;
  beforeEach(async () => {
    const connect = memoryDatabase();
    db = connect(true);
    createBaseTables(db, 'c');
    for (const migration of petsWing.migrations) runMigration(db, migration, 0);
    capture = await Capture.open(db, [petsWing]);
    await capture.begin();
  });
  afterEach(() => capture.close());

  const run = (work: (context: CommandContext) => unknown, keep = true) => {
    const command: Command = defineCommand({ name: 'test', run: (context: CommandContext) => work(context) }) as Command;
    return capture.run({ command, payload: {}, identity: internalIdentity, now: new Date(0), keep });
  };
  const pets = (): unknown[] => db.prepare('SELECT id, name FROM pets ORDER BY id').all();
  const insert = (name: string) => (context: CommandContext) => context.sql.run("INSERT INTO pets VALUES (?, ?, '{}')", context.nextId('pets'), name);

  it('records each command by itself, on what the ones before it did', async () => {
    const first = await run(insert('a'));
    const second = await run(async ({ em, nextId }) => em.save(Pet, { id: nextId('pets'), name: 'b', config: '{}' }));
    expect([first, second].map((captured) => parse(captured.changeset).map((section) => [section.table, section.changes.length]))).toEqual([
      [
        ['sequences', 1],
        ['pets', 1],
      ],
      [
        ['sequences', 1],
        ['pets', 1],
      ],
    ]);
    expect(pets()).toEqual([
      { id: 1, name: 'a' },
      { id: 2, name: 'b' },
    ]);
    await capture.rollback();
    expect(pets()).toEqual([]);
  });

  it('undoes a command that fails, and only that', async () => {
    await run(insert('a'));
    await expect(run(insert('a'))).rejects.toMatchObject({ kind: 'internal' });
    await run(insert('c'));
    expect(pets()).toEqual([
      { id: 1, name: 'a' },
      { id: 2, name: 'c' },
    ]);
  });

  it('undoes a dry run at once', async () => {
    const { changeset } = await run(insert('a'), false);
    expect(changeset.length).toBeGreaterThan(0);
    expect(pets()).toEqual([]);
  });

  it('lets TypeORM nest a transaction in the command’s', async () => {
    await run(({ em }) => em.transaction((inner) => inner.save(Pet, { id: 7, name: 'in', config: '{}' })));
    await run(({ em }) =>
      em
        .transaction(async (inner) => {
          await inner.save(Pet, { id: 8, name: 'out', config: '{}' });
          throw new Error('no');
        })
        .catch(() => undefined),
    );
    expect(pets()).toEqual([{ id: 7, name: 'in' }]);
  });

  it.each([
    'CREATE TABLE t(a INTEGER PRIMARY KEY)',
    'DROP TABLE pets',
    'PRAGMA foreign_keys = OFF',
    "ATTACH ':memory:' AS other",
    'VACUUM',
    'BEGIN',
    'COMMIT',
    'ROLLBACK',
    '/* sly */ COMMIT',
    'SAVEPOINT mine',
    'DELETE FROM submits',
    'UPDATE meta SET applied = 9',
    "DELETE FROM sqlite_master WHERE name = 'pets'",
  ])('refuses %s, by plain SQL and by TypeORM', async (sql) => {
    await expect(run((context) => context.sql.run(sql))).rejects.toMatchObject({ kind: 'internal' });
    await expect(run((context) => context.em.query(sql))).rejects.toMatchObject({ kind: 'internal' });
    await run(insert('after'));
    expect(pets()).toEqual([{ id: 1, name: 'after' }]);
    await capture.rollback();
    expect(pets()).toEqual([]);
  });

  it('refuses the statement of a save that nobody awaited, and knows whose it was', async () => {
    let floating: Promise<unknown> = Promise.resolve();
    const before = await run(insert('before'));
    const guilty = await run((context) => {
      context.sql.run("INSERT INTO toys VALUES (1, 1, 'ball')");
      floating = Promise.resolve()
        .then(() => Promise.resolve())
        .then(() => new Promise((resolve) => setImmediate(resolve)))
        .then(() => context.sql.run("INSERT INTO pets VALUES (99, 'loose', '{}')"))
        .catch((error: Error) => error.name);
      void context.em;
    });
    const after = await run(insert('after'));
    await capture.settle();
    await capture.settle();
    expect(await floating).toBe('FloatingStatement');
    expect([before, guilty, after].map((captured) => captured.floated())).toEqual([false, true, false]);
    expect(pets()).toEqual([
      { id: 1, name: 'before' },
      { id: 2, name: 'after' },
    ]);
  });

  it('fails the command whose save was cut short by its end', async () => {
    let floating: Promise<unknown> = Promise.resolve();
    const guilty = run((context) => {
      floating = context.em.save(Pet, { id: 99, name: 'loose', config: '{}' }).catch((error: Error) => error.message);
    });
    const captured = await guilty.then(
      (value) => value,
      () => undefined,
    );
    await capture.settle();
    if (captured) expect(captured.floated()).toBe(true);
    expect(await floating).toMatch(/not awaited/);
  });

  it('keeps the batch whole when a handler leaves its transactions unbalanced', async () => {
    await run(insert('before'));
    await expect(run(({ em }) => em.queryRunner?.startTransaction())).rejects.toMatchObject({ kind: 'internal' });
    await run(insert('after'));
    expect(pets()).toEqual([
      { id: 1, name: 'before' },
      { id: 2, name: 'after' },
    ]);
    await expect(run(({ em }) => em.queryRunner?.rollbackTransaction())).rejects.toMatchObject({ kind: 'internal' });
    await capture.rollback();
    expect(pets()).toEqual([]);
    await capture.begin();
    await run(insert('next batch'));
    expect(pets()).toEqual([{ id: 1, name: 'next batch' }]);
  });

  it('gives up a batch whose savepoints a handler has pulled from under it, and has a new runner for the next', async () => {
    await run(insert('before'));
    await expect(run(({ em }) => em.query('RELEASE SAVEPOINT typeorm_1'))).rejects.toThrow(CaptureBroken);
    await capture.rollback();
    expect(pets()).toEqual([]);
    await capture.begin();
    await run(insert('next batch'));
    await capture.rollback();
  });

  it('refuses a result over 4 KiB and a changeset over 1 MiB', async () => {
    await expect(run(() => 'x'.repeat(5000))).rejects.toMatchObject({ kind: 'internal' });
    await expect(run((context) => context.sql.run("INSERT INTO pets VALUES (1, 'big', ?)", 'x'.repeat(2 ** 20)))).rejects.toMatchObject({
      kind: 'tooLarge',
    });
    expect(pets()).toEqual([]);
  });

  it('has foreign keys on: cascades are part of the changeset', async () => {
    await run(insert('a'));
    await run(({ sql }) => sql.run("INSERT INTO toys VALUES (1, 1, 'ball')"));
    const { changeset } = await run(({ sql }) => sql.run('DELETE FROM pets WHERE id = 1'));
    expect(
      parse(changeset)
        .map((section) => section.table)
        .sort(),
    ).toEqual(['pets', 'toys']);
    await expect(run(({ sql }) => sql.run("INSERT INTO toys VALUES (2, 77, 'ball')"))).rejects.toMatchObject({ kind: 'internal' });
  });
});

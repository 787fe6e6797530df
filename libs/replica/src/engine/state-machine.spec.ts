import { constants, DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noConfiguration } from '#raft-ts';
import { memoryDatabase } from '../sqlite/connect.js';
import { internalIdentity } from '../state/command.js';
import { BadEntry, decodeEntry, type EntryContent, encodeEntry } from './entry.js';
import { SqliteStateMachine } from './sqlite-state-machine.js';
import { ReplicaStopped, type Step, TrialFailed } from './state-machine.js';
import { petsWing } from './testing/fixture.js';

const configuration = { ...noConfiguration, voters: [1] };
const open = () => SqliteStateMachine.open({ connect: memoryDatabase(), wings: [petsWing], cluster: 'c', configuration });

describe('apply', () => {
  let machine: SqliteStateMachine;
  let sequence = 0;
  beforeEach(async () => {
    machine = await open();
    const [migration] = machine.pending();
    machine.apply({ position: at(1), base: at(0, 0), content: { kind: 'migration', base: at(0, 0), schema: 0, now: 1000, migration: migration! } });
  });
  afterEach(() => machine.close());

  const at = (index: number, term = 1) => ({ index, term });
  const rows = (sql = 'SELECT id, name FROM pets'): unknown[] =>
    machine.db
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }));
  /** What SQL does, as a changeset; on a scratch copy whose pets are `given`. */
  const changesetOf = (sql: string, given = '', schema = petsWing.migrations[0]!.sql.join(';')): Uint8Array => {
    const db = new DatabaseSync(':memory:');
    db.exec(`${schema}; ${given}`);
    const session = db.createSession();
    db.exec(sql);
    return session.changeset();
  };
  const batch = (index: number, changesets: Uint8Array[], more: Partial<EntryContent> = {}): Step => {
    const commands = changesets.map((changeset) => ({
      name: 'test',
      identity: internalIdentity,
      submitId: `s${(sequence += 1)}`,
      requestId: '',
      project: 'default',
      result: 'null',
      lifecycle: [],
      changeset,
    }));
    const content = { kind: 'batch', base: at(index - 1), schema: 1, now: 2000 + index, commands, ...more } as EntryContent;
    return { position: at(index), base: content.base, content: decodeEntry(encodeEntry(content)) };
  };
  const REX = "INSERT INTO pets VALUES (1, 'rex', '{}')";

  it('applies batches, no-ops and configurations, and stands where it should', () => {
    machine.apply(batch(2, [changesetOf(REX)]));
    machine.apply({ position: at(3, 2), base: at(2) });
    machine.apply({ position: at(4, 2), base: at(3, 2), configuration: { ...configuration, learners: [2] } });
    expect(rows()).toEqual([{ id: 1, name: 'rex' }]);
    expect(machine.standing()).toMatchObject({ index: 4, term: 2, schema: 1, now: 2002, configuration: { learners: [2] } });
  });

  it('stops on another base, where SQLite would apply in silence', () => {
    machine.apply(batch(2, [changesetOf(REX)]));
    const rename = changesetOf("UPDATE pets SET name = 'max' WHERE id = 1", REX);
    // Another column of the same row was changed meanwhile: write skew. SQLite calls it applied.
    machine.db.exec('SAVEPOINT look');
    machine.db.exec(`UPDATE pets SET config = '{"a":1}'`);
    expect(machine.db.applyChangeset(rename)).toBe(true);
    machine.db.exec('ROLLBACK TO look; RELEASE look');
    machine.apply(batch(3, [changesetOf(`UPDATE pets SET config = '{"a":1}' WHERE id = 1`, REX)]));
    for (const step of [batch(3, [rename]), batch(5, [rename]), { ...batch(4, [rename]), base: at(3, 7) }, batch(4, [rename], { base: at(2) })]) {
      expect(() => machine.apply(step)).toThrow(ReplicaStopped);
    }
    expect(() => machine.apply({ position: at(5), base: at(4) })).toThrow(/wants to follow/);
    expect(rows()).toEqual([{ id: 1, name: 'rex' }]);
    expect(machine.standing().index).toBe(3);
  });

  it('stops on another schema number', () => {
    expect(() => machine.apply(batch(2, [changesetOf(REX)], { schema: 2 }))).toThrow(/schema 2/);
    expect(rows()).toEqual([]);
  });

  it('stops on a table or column that it has not, whose rows SQLite would drop and call it applied', () => {
    const fewer = 'CREATE TABLE pets(id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE)';
    const dropped = new DatabaseSync(':memory:');
    dropped.exec(fewer);
    expect(dropped.applyChangeset(changesetOf(REX))).toBe(true);
    expect(dropped.prepare('SELECT count(*) AS n FROM pets').get()).toMatchObject({ n: 0 });

    const more = 'CREATE TABLE pets(id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, config TEXT, extra TEXT)';
    expect(() => machine.apply(batch(2, [changesetOf("INSERT INTO pets VALUES (1, 'rex', '{}', 'x')", '', more)]))).toThrow(/table pets/);
    const missing = 'CREATE TABLE cats(id INTEGER PRIMARY KEY)';
    expect(() => machine.apply(batch(2, [changesetOf('INSERT INTO cats VALUES (1)', '', missing)]))).toThrow(/table cats.*not there/);
    const otherKey = 'CREATE TABLE pets(id INTEGER NOT NULL, name TEXT NOT NULL PRIMARY KEY, config TEXT NOT NULL) WITHOUT ROWID';
    expect(() => machine.apply(batch(2, [changesetOf(REX, '', otherKey)]))).toThrow(/table pets/);
    expect(machine.standing().index).toBe(1);
  });

  it('refuses an entry in which one byte of a changeset is flipped, which SQLite may well apply', () => {
    const changeset = changesetOf(REX);
    const quietly = [...changeset.keys()].filter((n) => {
      const flipped = Uint8Array.from(changeset);
      flipped[n] = (flipped[n] as number) ^ 0x20;
      const db = new DatabaseSync(':memory:');
      db.exec(petsWing.migrations[0]!.sql.join(';'));
      try {
        return db.applyChangeset(flipped, { onConflict: () => constants.SQLITE_CHANGESET_ABORT });
      } catch {
        return false;
      }
    });
    expect(quietly.length).toBeGreaterThan(0);
    const bytes = encodeEntry(batch(2, [changeset]).content as EntryContent);
    for (let n = bytes.length - changeset.length; n < bytes.length; n += 1) {
      const flipped = Uint8Array.from(bytes);
      flipped[n] = (flipped[n] as number) ^ 0x20;
      expect(() => decodeEntry(flipped)).toThrow(BadEntry);
    }
  });

  it('stops on a changeset that does not fit, and has applied nothing of its entry', () => {
    machine.apply(batch(2, [changesetOf(REX)]));
    const tom = changesetOf("INSERT INTO pets VALUES (2, 'tom', '{}')");
    expect(() => machine.apply(batch(3, [tom, changesetOf(REX)]))).toThrow(ReplicaStopped);
    expect(rows()).toEqual([{ id: 1, name: 'rex' }]);
    expect(rows('SELECT count(*) AS n FROM submits')).toEqual([{ n: 1 }]);
  });

  it('says at trial which command will not apply, and keeps nothing open', () => {
    machine.apply(batch(2, [changesetOf(REX)]));
    const bad = batch(3, [changesetOf("INSERT INTO pets VALUES (2, 'tom', '{}')"), changesetOf(REX)]);
    expect(() => machine.trial(bad)).toThrow(TrialFailed);
    try {
      machine.trial(bad);
    } catch (error) {
      expect(error).toMatchObject({ command: 1 });
    }
    machine.apply(batch(3, [changesetOf("INSERT INTO pets VALUES (2, 'tom', '{}')")]));
  });

  it('shows nothing of a trial until it is committed, and takes it back without a trace', () => {
    const step = batch(2, [changesetOf(REX)]);
    machine.trial(step);
    expect(machine.standing().index).toBe(1);
    machine.rollbackTrial();
    expect(rows()).toEqual([]);
    machine.trial(step);
    machine.commitTrial();
    expect(machine.standing().index).toBe(2);
    expect(rows()).toEqual([{ id: 1, name: 'rex' }]);
  });

  it('applies cascades with foreign keys off; with them on SQLite refuses', () => {
    const given = `${REX}; INSERT INTO toys VALUES (1, 1, 'ball')`;
    machine.apply(batch(2, [changesetOf(given)]));
    const cascade = changesetOf('PRAGMA foreign_keys = ON; DELETE FROM pets WHERE id = 1', given);
    const strict = new DatabaseSync(':memory:');
    strict.exec(`${petsWing.migrations[0]!.sql.join(';')}; ${given}; PRAGMA foreign_keys = ON`);
    expect(strict.applyChangeset(cascade, { onConflict: () => constants.SQLITE_CHANGESET_ABORT })).toBe(false);
    machine.apply(batch(3, [cascade]));
    expect(rows('SELECT * FROM toys')).toEqual([]);
  });

  it('undoes a migration that may not be, and stops', () => {
    const migration = { name: 'bad-1', sql: ['CREATE TABLE ok(id INTEGER PRIMARY KEY)', 'CREATE TABLE bad(a TEXT)'] };
    const content: EntryContent = { kind: 'migration', base: at(1), schema: 1, now: 5000, migration };
    expect(() => machine.apply({ position: at(2), base: at(1), content })).toThrow(/bad has no primary key/);
    expect(rows("SELECT name FROM sqlite_master WHERE name IN ('ok', 'bad')")).toEqual([]);
    expect(machine.standing()).toMatchObject({ index: 1, schema: 1 });
  });

  it('forgets submits after ten minutes, on every member at the same index', () => {
    machine.apply(batch(2, [changesetOf(REX)]));
    for (let index = 3; index <= 63; index += 1) machine.apply(batch(index, [changesetOf('')], { now: 2000 }));
    expect(rows('SELECT count(*) AS n FROM submits')).toEqual([{ n: 62 }]);
    machine.apply(batch(64, [changesetOf('')], { now: 2000 + 600_001 }));
    expect(rows('SELECT count(*) AS n FROM submits')).toEqual([{ n: 2 }]);
  });

  it('never lets time go back', () => {
    machine.apply(batch(2, [changesetOf(REX)], { now: 9000 }));
    machine.apply(batch(3, [changesetOf('')], { now: 5000 }));
    expect(machine.standing().now).toBe(9000);
  });
});

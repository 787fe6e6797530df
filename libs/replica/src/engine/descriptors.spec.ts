import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { connectFile } from '../sqlite/connect.js';
import { addPet, Home, renamePet, request } from './testing/fixture.js';

const opened = vi.hoisted(() => [] as string[]);
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const noting =
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      opened.push(String(args[0]));
      return call(...args);
    };
  return { ...fs, openSync: noting(fs.openSync), readFileSync: noting(fs.readFileSync), copyFileSync: noting(fs.copyFileSync) };
});

describe('descriptors of a live database', () => {
  const homes: Home[] = [];
  const home = (): Home => {
    const made = new Home();
    homes.push(made);
    return made;
  };
  afterEach(() => homes.splice(0).forEach((made) => made.remove()));

  it('drop SQLite’s locks for the whole process when one of them is closed: another writer gets in', () => {
    const path = join(home().directory, 'trap.db');
    const db = connectFile(path, false);
    db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)');
    const other = (): number | null => {
      const script = `const { DatabaseSync } = require('node:sqlite'); new DatabaseSync(${JSON.stringify(path)}, { timeout: 0 }).exec('BEGIN IMMEDIATE')`;
      return spawnSync(process.execPath, ['-e', script]).status;
    };
    expect(other()).not.toBe(0);
    closeSync(openSync(`${path}-shm`, 'r'));
    expect(other()).toBe(0);
    db.close();
  });

  it('are never opened by anything but SQLite: not by writing, compacting, taking snapshots, history or a restart', async () => {
    const place = home();
    opened.length = 0;
    for (const round of [1, 2]) {
      const engine = await place.open();
      await engine.ready();
      await engine.submit(request(addPet, { name: `a${round}` }));
      await engine.compact();
      await engine.submit(request(renamePet, { from: `a${round}`, to: `b${round}` }));
      engine.history({});
      engine.status();
      await engine.close();
    }
    expect(opened.length).toBeGreaterThan(5);
    expect(opened.filter((path) => /^(replica|history)\.db/.test(basename(path)))).toEqual([]);
    const db = new DatabaseSync(place.replicaPath);
    expect(db.prepare('SELECT name FROM pets ORDER BY id').all()).toMatchObject([{ name: 'b1' }, { name: 'b2' }]);
    db.close();
  });
});

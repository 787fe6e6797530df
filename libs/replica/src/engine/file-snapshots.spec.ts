import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, copyFileSync, mkdtempSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotMeta } from '#raft-ts';
import { createBaseTables } from '../sqlite/base-tables.js';
import { connectFile } from '../sqlite/connect.js';
import { FileSnapshots } from './file-snapshots.js';
import { built } from './testing/dist.js';

describe('snapshots', () => {
  let directory: string;
  let db: DatabaseSync;
  let path: string;
  let snapshots: FileSnapshots;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'muster-snap-'));
    path = join(directory, 'replica.db');
    db = connectFile(path, false);
    createBaseTables(db, 'c');
    db.exec(
      'CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL); UPDATE meta SET applied = 7, term = 2, schema = 3, configuration = \'{"voters":[1]}\'',
    );
    db.exec('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT i, hex(randomblob(500)) FROM n');
    snapshots = new FileSnapshots(join(directory, 'snapshots'), path);
  });
  afterEach(() => {
    db.close();
    rmSync(directory, { recursive: true });
  });

  const rowsOf = (file: string): unknown => {
    const other = new DatabaseSync(file, { readOnly: true });
    try {
      return other.prepare('SELECT count(*) AS n, sum(id) AS s FROM t').get();
    } finally {
      other.close();
    }
  };
  /** As a receiver gets it: in pieces, into another member's directory. */
  const send = (to: FileSnapshots, meta: SnapshotMeta): void => {
    for (let offset = 0; offset < meta.sizeBytes; offset += 100_000) {
      const data = snapshots.read(meta, offset, 100_000) as Uint8Array;
      to.receive({ from: 1, meta, offset, data, last: offset + data.length === meta.sizeBytes });
    }
  };
  const receiver = () => {
    const live = join(directory, 'other.db');
    const other = connectFile(live, false);
    createBaseTables(other, 'c');
    other.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL); INSERT INTO t VALUES (1, 'old')");
    return { live, other, received: new FileSnapshots(join(directory, 'received'), live) };
  };

  it('have a header from the same read transaction as their rows', async () => {
    const header = await snapshots.take();
    expect(header).toMatchObject({ format: 1, index: 7, term: 2, schema: 3, pageSize: 4096, configuration: { voters: [1] } });
    expect(snapshots.latest()).toMatchObject({ index: 7, term: 2, hash: header.sha256, sizeBytes: header.sizeBytes });
    expect(rowsOf(join(directory, 'snapshots', '7-2.db'))).toEqual(rowsOf(path));
  });

  it('end although another connection goes on writing, and hold none of what it writes', async () => {
    const other = connectFile(path, false);
    let writes = 0;
    const writing = setInterval(() => {
      other.prepare('INSERT INTO t VALUES (?, ?)').run(10_000 + writes, 'x');
      writes += 1;
    }, 0);
    // The trap: small steps, no read transaction. Every commit of the other connection sends it back to its first page.
    let pages: number[] = [];
    const starved = backup(db, join(directory, 'starved.db'), { rate: 5, progress: ({ remainingPages }) => void pages.push(remainingPages) });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(pages.length).toBeGreaterThan(2);
    expect(pages.slice(1).some((left, n) => left >= (pages[n] as number))).toBe(true);
    const before = writes;
    await snapshots.take();
    expect(writes).toBeGreaterThan(before);
    clearInterval(writing);
    await starved;
    other.close();
    expect(rowsOf(join(directory, 'snapshots', '7-2.db'))).not.toEqual(rowsOf(path));
    pages = [];
  });

  it('come over in pieces, and are installed under open readers, who finish on the old rows and then see the new', async () => {
    await snapshots.take();
    const meta = snapshots.latest() as SnapshotMeta;
    const { live, other, received } = receiver();
    send(received, meta);
    expect(received.complete(meta)).toBe(true);
    const reader = new DatabaseSync(live, { readOnly: true });
    reader.exec('BEGIN');
    expect(reader.prepare('SELECT count(*) AS n FROM t').get()).toMatchObject({ n: 1 });
    await received.install(received.fileOf(meta));
    expect(reader.prepare('SELECT count(*) AS n FROM t').get()).toMatchObject({ n: 1 });
    reader.exec('COMMIT');
    expect(reader.prepare('SELECT count(*) AS n FROM t').get()).toMatchObject({ n: 2000 });
    expect(other.prepare('SELECT applied FROM meta').get()).toMatchObject({ applied: 7 });
    other.exec("UPDATE t SET a = 'new' WHERE id = 1");
    expect(reader.prepare('SELECT a FROM t WHERE id = 1').get()).toMatchObject({ a: 'new' });
    reader.close();
    other.close();
    expect(rowsOf(live)).toEqual(rowsOf(path));
  });

  it('are there wholly or not at all, whenever the process is killed over the install', async () => {
    await snapshots.take();
    const meta = snapshots.latest() as SnapshotMeta;
    const seen = new Set<unknown>();
    for (let moment = 0; moment < 12; moment += 1) {
      const { live, other, received } = receiver();
      other.close();
      send(received, meta);
      const script = `
        const { FileSnapshots } = await import(${JSON.stringify(built('../file-snapshots.js').href)});
        const snapshots = new FileSnapshots(${JSON.stringify(join(directory, 'received'))}, ${JSON.stringify(live)});
        process.stdout.write('go');
        await snapshots.install(${JSON.stringify(received.fileOf(meta))});`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), moment * 1.5));
      await once(child, 'exit');
      const after = connectFile(live, false);
      expect(after.prepare('PRAGMA integrity_check').get()).toMatchObject({ integrity_check: 'ok' });
      const { n } = after.prepare('SELECT count(*) AS n FROM t').get() as { n: number };
      seen.add(n);
      after.close();
      for (const file of readdirSync(directory)) if (file.startsWith('other.db')) rmSync(join(directory, file));
    }
    expect([...seen].filter((n) => n !== 1 && n !== 2000)).toEqual([]);
  });

  it('would leave an open reader on the old file for ever if they were renamed into place', async () => {
    await snapshots.take();
    const { live, other } = receiver();
    other.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    const reader = new DatabaseSync(live, { readOnly: true });
    reader.prepare('SELECT count(*) FROM t').get();
    copyFileSync(join(directory, 'snapshots', '7-2.db'), join(directory, 'part.db'));
    renameSync(join(directory, 'part.db'), live);
    expect(reader.prepare('SELECT count(*) AS n FROM t').get()).toMatchObject({ n: 1 });
    reader.close();
    other.close();
  });

  it('are refused when a byte is wrong or missing, and can be sent again', async () => {
    await snapshots.take();
    const meta = snapshots.latest() as SnapshotMeta;
    const { received, other } = receiver();
    send(received, meta);
    const file = join(directory, 'received', received.fileOf(meta));
    const fd = openSync(file, 'r+');
    writeSync(fd, Uint8Array.of(0x55), 0, 1, 5000);
    closeSync(fd);
    expect(received.complete(meta)).toBe(false);
    send(received, meta);
    writeFileSync(file, readFileSync(file).subarray(0, -1));
    expect(received.complete(meta)).toBe(false);
    expect(received.complete(meta)).toBe(false);
    send(received, meta);
    expect(received.complete(meta)).toBe(true);
    other.close();
  });

  it('keep only the newest, and what a marker names', async () => {
    await snapshots.take();
    db.exec('UPDATE meta SET applied = 8');
    await snapshots.take();
    writeFileSync(join(directory, 'snapshots', 'old.part'), '');
    snapshots.tidy(undefined);
    expect(snapshots.latest()?.index).toBe(8);
    expect(snapshots.read({ ...(snapshots.latest() as SnapshotMeta), index: 7 }, 0, 10)).toBeUndefined();
  });
});

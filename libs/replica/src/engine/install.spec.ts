import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotMeta } from '#raft-ts';
import { realDisk } from '../disk/real-disk.js';
import { Log } from '../log/log.js';
import { FileSnapshots } from './file-snapshots.js';
import { addPet, Home, request } from './testing/fixture.js';

/** A member that a snapshot has reached, killed after each of the four steps of its install. */
describe('an install that was cut off', () => {
  let source: Home;
  let home: Home;
  let meta: SnapshotMeta;
  let file: string;

  beforeEach(async () => {
    source = new Home();
    const engine = await source.open();
    await engine.ready();
    for (let n = 0; n < 30; n += 1) await engine.submit(request(addPet, { name: `new${n}` }));
    await engine.compact();
    await engine.close();
    const taken = new FileSnapshots(join(source.directory, 'snapshots'), source.replicaPath);
    meta = taken.latest() as SnapshotMeta;
    file = taken.fileOf(meta);

    home = new Home();
    const old = await home.open();
    await old.ready();
    await old.submit(request(addPet, { name: 'old' }));
    await old.close();
  });
  afterEach(() => {
    source.remove();
    home.remove();
  });

  const received = (): string => join(home.directory, 'snapshots', file);
  const fileComplete = (): void => {
    mkdirSync(join(home.directory, 'snapshots'), { recursive: true });
    copyFileSync(join(source.directory, 'snapshots', `${meta.index}-${meta.term}.db`), received());
  };
  const markerWritten = (): void => {
    const log = Log.open(realDisk(join(home.directory, 'log'), 0));
    const { index, term, hash, configuration } = meta;
    log.append({ marker: { file, index, term, hash, configuration }, reset: { index, term }, hardState: { term, commit: index } });
    log.close();
  };
  const installed = (): Promise<void> => new FileSnapshots(join(home.directory, 'snapshots'), home.replicaPath).install(file);
  const names = (): string[] => {
    const db = new DatabaseSync(home.replicaPath, { readOnly: true });
    const rows = db.prepare('SELECT name FROM pets ORDER BY id').all() as { name: string }[];
    db.close();
    return rows.map((row) => row.name);
  };

  it('after step 1: the file alone means nothing', async () => {
    fileComplete();
    const engine = await home.open();
    await engine.ready();
    expect(names()).toEqual(['old']);
    await engine.close();
  });

  it.each([
    ['2: the marker is durable', async () => {}],
    ['3: the rows are there, the marker still stands', installed],
  ])('after step %s: the next start finishes it', async (_, step) => {
    fileComplete();
    markerWritten();
    await step();
    const engine = await home.open();
    await engine.ready();
    expect(names()).toHaveLength(30);
    expect(engine.status()).toMatchObject({ role: 'leader', schema: 1 });
    expect(existsSync(received())).toBe(false);
    await engine.submit(request(addPet, { name: 'after' }));
    expect(engine.history({}).span.gaps).toEqual([[expect.any(Number), meta.index]]);
    await engine.close();
    const again = await home.open();
    await again.ready();
    expect(names().at(-1)).toBe('after');
    await again.close();
  });

  it('is dropped where the replica is already as far', async () => {
    fileComplete();
    const log = Log.open(realDisk(join(home.directory, 'log'), 0));
    log.append({ marker: { file, index: 1, term: 1, hash: meta.hash, configuration: meta.configuration } });
    log.close();
    const engine = await home.open();
    await engine.ready();
    expect(names()).toEqual(['old']);
    expect(existsSync(received())).toBe(false);
    await engine.close();
  });
});

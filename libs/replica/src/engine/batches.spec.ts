import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Disk } from '../disk/disk.js';
import { realDisk } from '../disk/real-disk.js';
import { join } from 'node:path';
import { NoSpace } from '../disk/disk.js';
import { connectFile } from '../sqlite/connect.js';
import type { EngineFace } from './face.js';
import { systemEngineClock } from './ports.js';
import { addPet, Home, Pet, petsWing, probe, request, runProbe } from './testing/fixture.js';

const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('batches', () => {
  let home: Home;
  let engine: EngineFace;
  const start = async (...more: Parameters<Home['open']>): Promise<void> => {
    engine = await home.open(...more);
    await engine.ready();
  };
  beforeEach(() => void (home = new Home()));
  afterEach(async () => {
    await engine.close();
    home.remove();
  });
  const names = (): string[] => {
    const db = new DatabaseSync(home.replicaPath, { readOnly: true });
    const rows = db.prepare('SELECT name FROM pets ORDER BY id').all() as { name: string }[];
    db.close();
    return rows.map((row) => row.name);
  };
  const add = (name: string, more: object = {}) => engine.submit(request(addPet, { name }, more));

  it('refuse a floating save, and keep what its neighbours did', async () => {
    await start();
    let floating: Promise<unknown> = Promise.resolve();
    probe.work = (context) => {
      floating = context.em.save(Pet, { id: 99, name: 'loose', config: '{}' }).catch(() => 'refused');
    };
    const outcomes = await Promise.allSettled([add('a'), engine.submit(request(runProbe, {})), add('b')]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await floating).toBe('refused');
    expect(names()).toEqual(['a', 'b']);
  });

  it('survive a handler that breaks the transactions around it', async () => {
    await start();
    probe.work = ({ em }) => em.query('RELEASE SAVEPOINT typeorm_1');
    const outcomes = await Promise.allSettled([add('a'), engine.submit(request(runProbe, {})), add('b')]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(names()).toEqual(['a', 'b']);
  });

  it('give the same id again if its first owner was refused', async () => {
    await start();
    probe.work = (context) => {
      context.nextId('pets');
      throw new Error('no');
    };
    const outcomes = await Promise.allSettled([engine.submit(request(runProbe, {})), add('a')]);
    expect(outcomes[1]).toMatchObject({ value: { result: '{"id":1}' } });
  });

  it('hold at most 64 commands and end after ten milliseconds', async () => {
    await start();
    const before = engine.status().applied;
    await Promise.all([...Array(130).keys()].map((n) => add(`p${n}`)));
    expect(engine.status().applied - before).toBeGreaterThanOrEqual(3);
    const slowFrom = engine.status().applied;
    probe.work = (context) => {
      context.sql.run('INSERT INTO pets(id, name, config) VALUES (?, ?, ?)', context.nextId('pets'), `slow${context.nextId('slow')}`, '{}');
      const until = performance.now() + 8;
      while (performance.now() < until);
    };
    await Promise.all([...Array(6).keys()].map(() => engine.submit(request(runProbe, {}))));
    expect(engine.status().applied - slowFrom).toBeGreaterThanOrEqual(3);
  });

  it('are refused beyond a thousand waiting commands, with a time to come back', async () => {
    await start();
    const outcomes = await Promise.allSettled([...Array(1100).keys()].map((n) => add(`p${n}`)));
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused).toHaveLength(100);
    expect(refused[0]).toMatchObject({ reason: { kind: 'unavailable', retryAfterS: 1 } });
    expect(names()).toHaveLength(1000);
  });

  it('refuse what is past its deadline', async () => {
    await start();
    probe.work = () => {
      const until = performance.now() + 40;
      while (performance.now() < until);
    };
    const slow = engine.submit(request(runProbe, {}));
    await expect(add('late', { timeoutMs: 5 })).rejects.toMatchObject({ kind: 'unavailable' });
    await slow;
    expect(names()).toEqual([]);
  });

  it('run a dry run beside writes without leaving anything to them', async () => {
    await start();
    const [dry, wet] = await Promise.all([engine.dryRun(request(addPet, { name: 'a' })), add('a')]);
    expect([dry.result, wet.result]).toEqual(['{"id":1}', '{"id":1}']);
    expect(names()).toEqual(['a']);
  });

  it('need no entry for a command that changes nothing and tells nothing', async () => {
    await start();
    probe.work = () => 'read';
    const before = engine.status().commit;
    await expect(engine.submit(request(runProbe, {}))).resolves.toMatchObject({ result: '"read"' });
    expect(engine.status().commit).toBe(before);
  });

  it('give handlers a time that never goes back', async () => {
    let offsetMs = 0;
    await start({ clock: { ...systemEngineClock, realMs: () => Date.now() + offsetMs } });
    const times: number[] = [];
    probe.work = (context) => {
      times.push(context.now.getTime());
      context.nextId('n');
    };
    await engine.submit(request(runProbe, {}));
    offsetMs = -7200_000;
    await engine.submit(request(runProbe, {}));
    expect(times[1]).toBe(times[0]);
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(engine.status().warnings).toEqual([expect.stringContaining('jumped')]);
  });

  it('wait while there is no space, and reads go on', async () => {
    const real = realDisk(join(home.directory, 'log'), 0);
    let full = false;
    const disk: Disk = {
      ...real,
      create: (name, size) => {
        if (full) throw new NoSpace();
        return real.create(name, size);
      },
    };
    await start({ disk });
    await add('a');
    full = true;
    const big = { config: { fill: 'x'.repeat(200_000) } };
    let refused: unknown;
    for (let n = 0; n < 40 && !refused; n += 1) {
      refused = await engine.submit(request(addPet, { name: `big${n}`, ...big }, { timeoutMs: 1500 })).then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    expect(refused).toMatchObject({ kind: 'unavailable' });
    await expect(add('refused')).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringContaining('No space') as string });
    // What was begun and is not written yet does not keep a reader waiting.
    await engine.barrier();
    const had = names().length;
    expect(had).toBeGreaterThan(1);
    full = false;
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await add('again');
    expect(names()).toContain('again');
    expect(home.fatals).toEqual([]);
  });

  it('are refused while the database has no space, and go on when it has', async () => {
    let db: DatabaseSync | undefined;
    const connect = (foreignKeys: boolean): DatabaseSync => {
      const made = connectFile(home.replicaPath, foreignKeys);
      if (!foreignKeys) db ??= made;
      return made;
    };
    await start({ connect });
    await add('a');
    const { page_count: pages } = db!.prepare('PRAGMA page_count').get() as { page_count: number };
    db!.exec(`PRAGMA max_page_count = ${pages + 2}`);
    const big = { name: 'big', config: { fill: 'x'.repeat(50_000) } };
    await expect(engine.submit(request(addPet, big))).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('No space') as string,
    });
    expect(names()).toEqual(['a']);
    await engine.barrier();
    db?.exec('PRAGMA max_page_count = 100000');
    await engine.submit(request(addPet, big));
    expect(names()).toEqual(['a', 'big']);
    expect(home.fatals).toEqual([]);
  });

  it('end the process when the log fails in any other way, and acknowledge nothing', async () => {
    const real = realDisk(join(home.directory, 'log'), 0);
    let failing = false;
    const disk: Disk = {
      ...real,
      create: (name, size) => {
        const file = real.create(name, size);
        const sync = (): void => {
          if (failing) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
          file.sync();
        };
        return { sizeBytes: size, read: (o, l) => file.read(o, l), write: (o, b) => file.write(o, b), sync, close: () => file.close() };
      },
    };
    await start({ disk });
    await add('a');
    failing = true;
    let answered = false;
    const answer = (): void => void (answered = true);
    add('b').then(answer, () => undefined);
    // A refusal is a read of the batch that it is in: said now, it would speak of a row that may never be.
    add('b').then(answer, answer);
    for (let n = 0; n < 20 && home.fatals.length === 0; n += 1) await later();
    expect(home.fatals).toHaveLength(1);
    expect(answered).toBe(false);
    expect(names()).toEqual(['a']);
  });
});

describe('migrations', () => {
  it('are entries that raise the schema number, also on a database that is in use', async () => {
    const home = new Home();
    const first = await home.open();
    await first.ready();
    await first.submit(request(addPet, { name: 'rex' }));
    await first.close();
    const grown = {
      ...petsWing,
      migrations: [...petsWing.migrations, { name: 'pets-2', sql: ["ALTER TABLE pets ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'"] }],
    };
    const second = await home.open({ wings: [grown] });
    await second.ready();
    expect(second.status().schema).toBe(2);
    await second.submit(request(addPet, { name: 'tom' }));
    await second.close();

    const older = await home.open();
    await older.ready();
    expect(older.status()).toMatchObject({ stopped: expect.stringContaining('pets-2') as string, schema: 2 });
    await expect(older.submit(request(addPet, { name: 'no' }, { timeoutMs: 200 }))).rejects.toMatchObject({ kind: 'unavailable' });
    await older.close();
    home.remove();
  });

  it('that may not be stop the replica, and leave no trace in it', async () => {
    const home = new Home();
    const bad = { ...petsWing, migrations: [...petsWing.migrations, { name: 'pets-2', sql: ['CREATE TABLE nokey(a TEXT)'] }] };
    const engine = await home.open({ wings: [bad] });
    await engine.ready();
    expect(engine.status()).toMatchObject({ schema: 1, stopped: expect.stringContaining('nokey has no primary key') as string });
    await engine.close();
    home.remove();
  });
});

import { rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Applied } from '../ports.js';
import type { EngineFace } from './face.js';
import { loneTransport, type TransportHandlers } from './ports.js';
import { addPet, Home, removePet, renamePet, request, savePet } from './testing/fixture.js';

describe('one member', () => {
  let home: Home;
  let engine: EngineFace;
  beforeEach(async () => {
    home = new Home();
    engine = await home.open();
    await engine.ready();
  });
  afterEach(async () => {
    await engine.close();
    home.remove();
    expect(home.fatals).toEqual([]);
  });
  const read = (sql: string): unknown[] => {
    const db = new DatabaseSync(home.replicaPath, { readOnly: true });
    try {
      return db.prepare(sql).all();
    } finally {
      db.close();
    }
  };

  it('applies a command before it answers', async () => {
    const { index, result } = (await engine.submit(request(addPet, { name: 'rex' }))) as { index: number; result: string };
    expect(JSON.parse(result)).toEqual({ id: 1 });
    expect(read('SELECT id, name FROM pets')).toEqual([{ id: 1, name: 'rex' }]);
    expect(engine.status()).toMatchObject({ role: 'leader', applied: index, commit: index, schema: 1 });
    await expect(engine.barrier()).resolves.toBe(index);
  });

  it('runs many at once in few entries, each on what the ones before it did', async () => {
    const before = engine.status().applied;
    const answers = await Promise.all([...Array(100).keys()].map((n) => engine.submit(request(n % 2 ? addPet : savePet, { name: `p${n}` }))));
    expect(new Set(answers.map((answer) => JSON.parse(answer.result).id)).size).toBe(100);
    expect(engine.status().applied - before).toBeLessThan(20);
    expect(read('SELECT count(*) n FROM pets')).toEqual([{ n: 100 }]);
  });

  it('refuses one command of a batch and keeps the others', async () => {
    const outcomes = await Promise.allSettled(['a', 'b', 'a', 'c'].map((name) => engine.submit(request(addPet, { name }))));
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(outcomes[2]).toMatchObject({ reason: { kind: 'conflict', message: 'Pet a exists' } });
    expect(read('SELECT name FROM pets ORDER BY id')).toEqual([{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
  });

  it('makes a repeated submit once, and tells its fate', async () => {
    const once = request(addPet, { name: 'rex' });
    const first = await engine.submit(once);
    expect(await engine.submit(once)).toMatchObject({ index: (first as { index: number }).index, result: '{"id":1}' });
    expect(await engine.submitted(once.submitId)).toEqual({ state: 'applied', index: (first as { index: number }).index });
    expect(await engine.submitted('none')).toEqual({ state: 'unknown' });
    const twice = request(addPet, { name: 'tom' });
    const [one, other] = await Promise.all([engine.submit(twice), engine.submit({ ...twice })]);
    expect(one).toEqual(other);
  });

  it('answers a dry run with what would be, and keeps nothing of it', async () => {
    const log = engine.status().commit;
    const answer = await engine.dryRun(request(addPet, { name: 'rex', config: { chip: '123', colour: 'red' } }));
    expect(answer).toMatchObject({ kind: 'would', result: '{"id":1}' });
    expect('would' in answer && answer.would).toContainEqual({
      entity: 'pets',
      action: 'create',
      before: null,
      after: { id: 1, name: 'rex', config: '{"chip":"<hidden>","colour":"red"}' },
    });
    expect(engine.status().commit).toBe(log);
    expect(read('SELECT * FROM pets')).toEqual([]);
  });

  it('tells watchers of each entry, in order, with the events of its commands', async () => {
    const seen: Applied[] = [];
    using _ = engine.watch((applied) => seen.push(applied));
    await engine.submit(request(addPet, { name: 'rex' }));
    await engine.submit(request(renamePet, { from: 'rex', to: 'max' }));
    expect(seen.map((applied) => applied.commands.map((command) => [command.name, command.mine, command.lifecycle.length]))).toEqual([
      [['pets.add', true, 1]],
      [['pets.rename', true, 0]],
    ]);
    expect(seen[1]?.touched).toEqual([{ table: 'pets', ids: [1] }]);
  });

  it('finds everything again after a restart, and goes on', async () => {
    await engine.submit(request(addPet, { name: 'rex' }));
    await engine.close();
    engine = await home.open();
    await engine.ready();
    expect(read('SELECT name FROM pets')).toEqual([{ name: 'rex' }]);
    expect(JSON.parse((await engine.submit(request(addPet, { name: 'tom' }))).result)).toEqual({ id: 2 });
  });

  it('makes a lost replica again from the log', async () => {
    for (let n = 0; n < 20; n += 1) await engine.submit(request(addPet, { name: `p${n}` }));
    await engine.submit(request(removePet, { name: 'p3' }));
    await engine.close();
    const before = read('SELECT * FROM pets');
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${home.replicaPath}${suffix}`, { force: true });
    engine = await home.open();
    await engine.ready();
    await engine.barrier();
    expect(read('SELECT * FROM pets')).toEqual(before);
  });

  it('remembers who did what', async () => {
    await engine.submit(request(addPet, { name: 'rex', project: 'zoo' }));
    await engine.close();
    engine = await home.open();
    const { rows, span } = engine.history({ project: 'zoo' });
    expect(rows.map((row) => [row.command, row.project, row.part])).toEqual([['pets.add', 'zoo', 0]]);
    expect(span.gaps).toEqual([]);
  });

  it('compacts the log up to what is durable, and starts from there', async () => {
    for (let n = 0; n < 5; n += 1) await engine.submit(request(addPet, { name: `p${n}` }));
    await engine.compact();
    expect(engine.status().durable).toBe(engine.status().applied);
    await engine.submit(request(addPet, { name: 'after' }));
    await engine.close();
    engine = await home.open();
    await engine.ready();
    expect(read('SELECT count(*) n FROM pets')).toEqual([{ n: 6 }]);
  });

  it('refuses a submit that is addressed to another term, and takes one from another member as its own', async () => {
    await engine.close();
    let handlers: TransportHandlers | undefined;
    engine = await home.open({ transport: { ...loneTransport, start: (given) => void (handlers = given) } });
    await engine.ready();
    const { term } = engine.status();
    expect(await handlers?.submit(2, term + 1, request(addPet, { name: 'rex' }), false)).toEqual({ kind: 'not-leader' });
    expect(await handlers?.submit(2, term, request(addPet, { name: 'rex' }), false)).toMatchObject({ kind: 'applied', result: '{"id":1}' });
    expect(await handlers?.submit(2, term, request(addPet, { name: 'rex' }), false)).toMatchObject({ kind: 'fault', fault: { kind: 'conflict' } });
    expect(await handlers?.submit(2, term, request(addPet, { name: 'tom' }), true)).toMatchObject({ kind: 'would' });
  });

  it('does not lead from a replica that is behind the beginning of its log: only a snapshot can help', async () => {
    for (let n = 0; n < 5; n += 1) await engine.submit(request(addPet, { name: `p${n}` }));
    await engine.compact();
    await engine.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${home.replicaPath}${suffix}`, { force: true });
    engine = await home.open();
    await engine.ready();
    expect(engine.status()).toMatchObject({ applied: 0, role: 'follower', stopped: expect.stringContaining('only a snapshot') as string });
    await expect(engine.submit(request(addPet, { name: 'no' }, { timeoutMs: 100 }))).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(engine.barrier()).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

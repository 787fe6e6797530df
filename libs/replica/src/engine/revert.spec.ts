import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineFace } from './face.js';
import { inverseOf, conflictsOf, revertCommand } from './revert.js';
import { addPet, addToy, Home, removePet, renamePet, request } from './testing/fixture.js';
import { SqlOn, StatementCache } from '../sqlite/statements.js';

describe('taking a change back', () => {
  let home: Home;
  let engine: EngineFace;
  let db: DatabaseSync;
  beforeEach(async () => {
    home = new Home();
    engine = await home.open();
    await engine.ready();
    db = new DatabaseSync(home.replicaPath, { readOnly: true });
  });
  afterEach(async () => {
    db.close();
    await engine.close();
    home.remove();
  });
  const rows = (sql: string): unknown[] =>
    db
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }));
  const pets = (): unknown[] => rows('SELECT id, name FROM pets ORDER BY id');
  const index = async (what: Promise<object>): Promise<number> => ((await what) as { index: number }).index;
  const revert = (at: number, how: 'submit' | 'dryRun' = 'submit') =>
    engine[how](
      request(revertCommand, {
        index: at,
        project: 'default',
        changesets: engine.historyEntry(at).map((row) => Buffer.from(row.changeset).toString('base64')),
      }),
    );

  it('undoes an update, an addition, a removal with all that went with it', async () => {
    const added = await index(engine.submit(request(addPet, { name: 'rex' })));
    await engine.submit(request(addToy, { pet: 'rex', toy: 'ball' }));
    const renamed = await index(engine.submit(request(renamePet, { from: 'rex', to: 'max' })));
    await revert(renamed);
    expect(pets()).toEqual([{ id: 1, name: 'rex' }]);
    const removed = await index(engine.submit(request(removePet, { name: 'rex' })));
    expect(rows('SELECT * FROM toys')).toEqual([]);
    await revert(removed);
    expect(rows('SELECT name FROM toys')).toEqual([{ name: 'ball' }]);
    await expect(revert(added)).rejects.toMatchObject({ kind: 'conflict', message: 'Other rows now depend on pets 1' });
    expect(rows('SELECT name FROM toys')).toEqual([{ name: 'ball' }]);
  });

  it('undoes an addition without giving its id to another', async () => {
    const added = await index(engine.submit(request(addPet, { name: 'rex' })));
    await revert(added);
    expect(pets()).toEqual([]);
    await engine.submit(request(addPet, { name: 'tom' }));
    expect(pets()).toEqual([{ id: 2, name: 'tom' }]);
  });

  it('is refused, with the rows named, when they have changed since', async () => {
    await engine.submit(request(addPet, { name: 'rex' }));
    const first = await index(engine.submit(request(renamePet, { from: 'rex', to: 'max' })));
    await engine.submit(request(renamePet, { from: 'max', to: 'bo' }));
    await expect(revert(first)).rejects.toMatchObject({ kind: 'conflict', metadata: { conflicts: ['pets 1'] } });
    expect(pets()).toEqual([{ id: 1, name: 'bo' }]);
  });

  it('is refused when something else stands where the row was', async () => {
    await engine.submit(request(addPet, { name: 'rex' }));
    const removed = await index(engine.submit(request(removePet, { name: 'rex' })));
    await engine.submit(request(addPet, { name: 'rex' }));
    await expect(revert(removed)).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('can be tried first, and is part of history itself', async () => {
    const added = await index(engine.submit(request(addPet, { name: 'rex' })));
    const dry = await revert(added, 'dryRun');
    expect('would' in dry && dry.would).toEqual([{ entity: 'pets', action: 'delete', before: { id: 1, name: 'rex', config: '{}' }, after: null }]);
    expect(pets()).toHaveLength(1);
    const reverted = await index(revert(added));
    await revert(reverted);
    expect(pets()).toEqual([{ id: 1, name: 'rex' }]);
  });

  it('takes a whole entry of several commands back, the last one first', async () => {
    const answers = await Promise.all([
      engine.submit(request(addPet, { name: 'a' })),
      engine.submit(request(renamePet, { from: 'a', to: 'b' })),
      engine.submit(request(addPet, { name: 'a' })),
    ]);
    const at = new Set(answers.map((answer) => (answer as { index: number }).index));
    expect(at.size).toBe(1);
    await revert([...at][0] as number);
    expect(pets()).toEqual([]);
  });

  it('is offered only while nothing has changed', async () => {
    const added = await index(engine.submit(request(addPet, { name: 'rex' })));
    const reader = new SqlOn(new StatementCache(db));
    const inverse = inverseOf(engine.historyEntry(added)[0]?.changeset as Uint8Array);
    expect(conflictsOf(reader, inverse)).toEqual([]);
    await engine.submit(request(renamePet, { from: 'rex', to: 'max' }));
    expect(conflictsOf(reader, inverse)).toEqual(['pets 1']);
  });
});

import { Column, Entity, PrimaryColumn } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fault } from '#kit';
import { defineCommand, internalIdentity, type StateWing } from '#replica/state';
import { MemoryReplica } from './memory-replica.js';

@Entity('pets')
class Pet {
  @PrimaryColumn('integer') id: number;
  @Column('text') name: string;
}

const add = defineCommand<{ name: string }, { id: number }>({
  name: 'pets.add',
  run: async (context, { name }) => {
    if (context.sql.get('SELECT 1 FROM pets WHERE name = ?', name)) throw fault.conflict(`Pet ${name} exists`);
    const id = context.nextId('pets');
    await context.em.save(Pet, { id, name });
    context.emit({ action: 'pet-created', source: `/1.0/pets/${name}` });
    return { id };
  },
});
let floating: Promise<unknown> = Promise.resolve();
const float = defineCommand<object>({
  name: 'pets.float',
  run: (context) => {
    floating = context.em.save(Pet, { id: 99, name: 'loose' }).catch((error: Error) => error.message);
  },
});
const ddl = defineCommand<object>({ name: 'pets.ddl', run: (context) => void context.sql.run('CREATE TABLE t(a INTEGER PRIMARY KEY)') });
const begin = defineCommand<object>({ name: 'pets.begin', run: (context) => void context.sql.run('BEGIN') });

const wing: StateWing = {
  subject: 'pets',
  entities: [Pet],
  migrations: [{ name: 'pets-1', sql: ['CREATE TABLE pets(id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE)'] }],
  commands: [add, float, ddl, begin],
};
const by = { identity: internalIdentity };

describe('MemoryReplica', () => {
  let replica: MemoryReplica;
  beforeEach(async () => void (replica = await MemoryReplica.open({ wings: [wing] })));
  afterEach(() => replica.close());

  it('applies a command, gives ids, tells watchers and history', async () => {
    const seen: string[] = [];
    using _ = replica.watch((applied) => seen.push(...applied.commands.flatMap((command) => command.lifecycle.map((event) => event.action))));
    expect(await replica.submit(add, { name: 'rex' }, by)).toEqual({ result: { id: 1 }, index: 1 });
    expect((await replica.submit(add, { name: 'tom' }, by)).result).toEqual({ id: 2 });
    expect(replica.reader.all('SELECT name FROM pets ORDER BY id')).toEqual([{ name: 'rex' }, { name: 'tom' }]);
    expect(seen).toEqual(['pet-created', 'pet-created']);
    const { entries } = await replica.history({});
    expect(entries[0]?.changes).toContainEqual({ entity: 'pets', action: 'create', before: null, after: { id: 1, name: 'rex' } });
  });

  it('answers a dry-run with the effects and keeps nothing', async () => {
    const { would } = await replica.dryRun(add, { name: 'rex' }, by);
    expect(would).toContainEqual({ entity: 'pets', action: 'create', before: null, after: { id: 1, name: 'rex' } });
    expect(replica.reader.all('SELECT * FROM pets')).toEqual([]);
    expect((await replica.submit(add, { name: 'tom' }, by)).result).toEqual({ id: 1 });
  });

  it('undoes a command that fails, and goes on', async () => {
    await replica.submit(add, { name: 'rex' }, by);
    await expect(replica.submit(add, { name: 'rex' }, by)).rejects.toMatchObject({ kind: 'conflict' });
    expect((await replica.submit(add, { name: 'tom' }, by)).result).toEqual({ id: 2 });
  });

  it('refuses a save that nobody awaited, DDL and BEGIN', async () => {
    await expect(replica.submit(float, {}, by)).rejects.toMatchObject({ kind: 'internal' });
    expect(await floating).toMatch(/not awaited/);
    await expect(replica.submit(ddl, {}, by)).rejects.toMatchObject({ kind: 'internal' });
    await expect(replica.submit(begin, {}, by)).rejects.toMatchObject({ kind: 'internal' });
    expect(replica.reader.all('SELECT * FROM pets')).toEqual([]);
    expect((await replica.submit(add, { name: 'tom' }, by)).result).toEqual({ id: 1 });
  });
});

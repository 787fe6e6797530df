import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { fault, silent } from '#kit';
import type { Disk } from '../../disk/disk.js';
import { realDisk } from '../../disk/real-disk.js';
import { connectFile } from '../../sqlite/connect.js';
import { Column, type Command, defineCommand, Entity, internalIdentity, PrimaryColumn, type StateWing } from '../../state/index.js';
import { FileSnapshots } from '../file-snapshots.js';
import { History } from '../history.js';
import { type EngineOptions, openEngine } from '../opening.js';
import { loneTransport, type SubmitRequest, systemEngineClock } from '../ports.js';

@Entity('pets')
export class Pet {
  @PrimaryColumn('integer') id: number;
  @Column('text') name: string;
  @Column('text') config: string;
}

export const addPet = defineCommand<{ name: string; config?: object; project?: string }, { id: number }>({
  name: 'pets.add',
  run: (context, { name, config = {} }) => {
    if (context.sql.get('SELECT 1 FROM pets WHERE name = ?', name)) throw fault.conflict(`Pet ${name} exists`);
    const id = context.nextId('pets');
    context.sql.run('INSERT INTO pets(id, name, config) VALUES (?, ?, ?)', id, name, JSON.stringify(config));
    context.emit({ action: 'pet-created', source: `/1.0/pets/${name}` });
    return { id };
  },
});
export const savePet = defineCommand<{ name: string }, { id: number }>({
  name: 'pets.save',
  run: async (context, { name }) => {
    const id = context.nextId('pets');
    await context.em.save(Pet, { id, name, config: '{}' });
    return { id };
  },
});
export const renamePet = defineCommand<{ from: string; to: string }>({
  name: 'pets.rename',
  run: ({ sql }, { from, to }) => {
    if (sql.run('UPDATE pets SET name = ? WHERE name = ?', to, from).changes === 0) throw fault.notFound('Pet not found');
  },
});
export const removePet = defineCommand<{ name: string }>({
  name: 'pets.remove',
  run: ({ sql }, { name }) => {
    if (sql.run('DELETE FROM pets WHERE name = ?', name).changes === 0) throw fault.notFound('Pet not found');
  },
});
export const addToy = defineCommand<{ pet: string; toy: string }>({
  name: 'toys.add',
  run: (context, { pet, toy }) => {
    const row = context.sql.get<{ id: number }>('SELECT id FROM pets WHERE name = ?', pet);
    if (!row) throw fault.notFound('Pet not found');
    context.sql.run('INSERT INTO toys(id, pet, name) VALUES (?, ?, ?)', context.nextId('toys'), row.id, toy);
  },
});
/** For tests: what runs in the handler is given from outside. */
export const probe = { work: ((): unknown => undefined) as (context: Parameters<Command['run']>[0]) => unknown };
export const runProbe = defineCommand<object, unknown>({ name: 'pets.probe', run: (context) => probe.work(context) });

export const petsWing: StateWing = {
  subject: 'pets',
  entities: [Pet],
  migrations: [
    {
      name: 'pets-1',
      sql: [
        'CREATE TABLE pets(id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, config TEXT NOT NULL)',
        'CREATE TABLE toys(id INTEGER PRIMARY KEY NOT NULL, pet INTEGER NOT NULL REFERENCES pets(id) ON DELETE CASCADE, name TEXT NOT NULL)',
      ],
    },
  ],
  commands: [addPet, savePet, renamePet, removePet, addToy, runProbe],
  secrets: [{ table: 'pets', column: 'config', keys: ['chip'] }],
};

export function request<P>(command: Command<P, never> | Command<P, unknown>, payload: P, more: Partial<SubmitRequest> = {}): SubmitRequest {
  return {
    name: command.name,
    payload: JSON.stringify(payload),
    identity: internalIdentity,
    submitId: randomBytes(16).toString('hex'),
    requestId: 'r',
    timeoutMs: 5000,
    ...more,
  };
}

/** A state directory of one member in a temporary place, and the engines that are opened on it. */
export class Home {
  readonly directory = mkdtempSync(join(tmpdir(), 'muster-engine-'));
  readonly replicaPath = join(this.directory, 'replica.db');
  readonly fatals: unknown[] = [];

  async open(more: Partial<EngineOptions> & { disk?: Disk } = {}) {
    return openEngine({
      wings: [petsWing],
      disk: realDisk(join(this.directory, 'log'), 0),
      connect: (foreignKeys) => connectFile(this.replicaPath, foreignKeys),
      snapshots: new FileSnapshots(join(this.directory, 'snapshots'), this.replicaPath),
      history: new History(connectFile(join(this.directory, 'history.db'), false)),
      transport: loneTransport,
      clock: systemEngineClock,
      logger: silent,
      identity: { cluster: 'test', member: 1, incarnation: 0, founders: [1] },
      fatal: (error) => void this.fatals.push(error),
      ...more,
    });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

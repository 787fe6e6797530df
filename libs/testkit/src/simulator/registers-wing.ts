/** A subject for simulations: registers that are put and swapped, a row for every change, and members that come and go. */
import { fault } from '#kit';
import { defineCommand, type StateWing } from '#replica/state';

export interface RegisterChange {
  readonly key: number;
  readonly value: number;
}

const write = (sql: { run(text: string, ...values: number[]): { changes: number } }, key: number, value: number): void => {
  sql.run('INSERT INTO registers(key, value) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value', key, value);
};

export const putRegister = defineCommand<RegisterChange, { found: number }>({
  name: 'registers.put',
  run: ({ sql, nextId }, { key, value }) => {
    const found = sql.get<{ value: number }>('SELECT value FROM registers WHERE key = ?', key)?.value ?? 0;
    write(sql, key, value);
    sql.run('INSERT INTO changes(id, key, before, after) VALUES (?, ?, ?, ?)', nextId('changes'), key, found, value);
    return { found };
  },
});

export const swapRegister = defineCommand<RegisterChange & { expected: number }, { found: number }>({
  name: 'registers.swap',
  run: ({ sql, nextId }, { key, value, expected }) => {
    const found = sql.get<{ value: number }>('SELECT value FROM registers WHERE key = ?', key)?.value ?? 0;
    if (found !== expected) throw fault.conflict(`The register holds ${found}`);
    write(sql, key, value);
    sql.run('INSERT INTO changes(id, key, before, after) VALUES (?, ?, ?, ?)', nextId('changes'), key, found, value);
    return { found };
  },
});

export const setRole = defineCommand<{ id: number; role: 'voter' | 'learner' | 'spare' | 'removed' }>({
  name: 'registers.member',
  run: ({ configure, sql }, { id, role }) => {
    sql.run('INSERT INTO roles(id, role) VALUES (?, ?) ON CONFLICT(id) DO UPDATE SET role = excluded.role', id, role);
    configure([{ id, role }]);
  },
});

export const registersWing: StateWing = {
  subject: 'registers',
  entities: [],
  migrations: [
    {
      name: 'registers-1',
      sql: [
        'CREATE TABLE registers(key INTEGER PRIMARY KEY NOT NULL, value INTEGER NOT NULL)',
        'CREATE TABLE changes(id INTEGER PRIMARY KEY NOT NULL, key INTEGER NOT NULL, before INTEGER NOT NULL, after INTEGER NOT NULL)',
        'CREATE TABLE roles(id INTEGER PRIMARY KEY NOT NULL, role TEXT NOT NULL)',
      ],
    },
  ],
  commands: [putRegister, swapRegister, setRole],
};

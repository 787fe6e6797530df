import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { built } from '../engine/testing/dist.js';
import { addPet, petsWing, renamePet, runProbe } from '../engine/testing/fixture.js';
import { lockStateDir } from '../lock.js';
import type { Applied, Replica } from '../ports.js';
import { internalIdentity } from '../state/command.js';
import { openReplica } from './open-replica.js';

const by = { identity: internalIdentity, requestId: 'req-1' };
const open = (stateDir: string, more: object = {}): Promise<Replica> =>
  openReplica({ stateDir, wings: [petsWing], worker: built('./pets-worker.js'), ...more });

describe('the replica, from the main thread', () => {
  let directory: string;
  let replica: Replica;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'muster-replica-'));
    replica = await open(directory);
  });
  afterEach(async () => {
    await replica.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('reads its own writes', async () => {
    const { result, index } = await replica.submit(addPet, { name: 'rex' }, by);
    expect(result).toEqual({ id: 1 });
    expect(replica.reader.get('SELECT name FROM pets WHERE id = ?', 1)).toMatchObject({ name: 'rex' });
    await replica.barrier();
    expect(await replica.status()).toMatchObject({ role: 'leader', applied: index, schema: 1 });
  });

  it('brings faults over whole', async () => {
    await replica.submit(addPet, { name: 'rex' }, by);
    await expect(replica.submit(addPet, { name: 'rex' }, by)).rejects.toMatchObject({ name: 'Fault', kind: 'conflict', message: 'Pet rex exists' });
    await expect(replica.submit(runProbe, { x: 'y'.repeat(5 * 2 ** 20) }, by)).rejects.toMatchObject({ kind: 'tooLarge' });
  });

  it('has told its watchers of a change before the submit is answered', async () => {
    const seen: Applied[] = [];
    using _ = replica.watch((applied) => seen.push(applied));
    await replica.submit(addPet, { name: 'rex' }, by);
    expect(seen.at(-1)?.commands).toMatchObject([{ name: 'pets.add', requestId: 'req-1', mine: true, lifecycle: [{ action: 'pet-created' }] }]);
    expect(seen.at(-1)?.time).toBeInstanceOf(Date);
  });

  it('cannot write through its reader', () => {
    expect(() => replica.reader.all('DELETE FROM pets')).toThrow(/readonly/);
  });

  it('answers dry runs, history and reverts', async () => {
    const { would } = await replica.dryRun(addPet, { name: 'rex', config: { chip: '1' } }, by);
    expect(would).toContainEqual({ entity: 'pets', action: 'create', before: null, after: { id: 1, name: 'rex', config: '{"chip":"<hidden>"}' } });
    await replica.submit(addPet, { name: 'rex', project: 'zoo' }, by);
    const { index } = await replica.submit(renamePet, { from: 'rex', to: 'max' }, by);
    const { entries } = await replica.history({ from: index });
    expect(entries).toMatchObject([
      {
        index,
        command: 'pets.rename',
        requestId: 'req-1',
        invertible: true,
        changes: [{ action: 'update', before: { name: 'rex' }, after: { name: 'max' } }],
      },
    ]);
    expect((await replica.history({ project: 'zoo' })).entries).toHaveLength(1);
    expect((await replica.revert(index, { ...by, dryRun: true })).would).toHaveLength(1);
    await replica.revert(index, by);
    expect(replica.reader.all('SELECT name FROM pets')).toMatchObject([{ name: 'rex' }]);
    expect((await replica.history({ from: index, limit: 1 })).entries[0]?.invertible).toBe(false);
    await expect(replica.revert(9999, by)).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('shares barriers among all who wait', async () => {
    await Promise.all([...Array(5000)].map(() => replica.barrier()));
  });

  it('compacts while it serves', async () => {
    const writing = (async () => {
      for (let n = 0; n < 100; n += 1) await replica.submit(addPet, { name: `p${n}` }, by);
    })();
    await replica.compact();
    await writing;
    expect(replica.reader.get('SELECT count(*) AS n FROM pets')).toMatchObject({ n: 100 });
    const { durable, applied } = await replica.status();
    expect(durable).toBeGreaterThan(0);
    expect(durable).toBeLessThanOrEqual(applied);
  });

  it('has its directory for itself, against this process and every other', async () => {
    expect(() => lockStateDir(directory)).toThrow(`in use by process ${process.pid}`);
    await expect(open(directory)).rejects.toMatchObject({ kind: 'unavailable' });
    const script = `const { lockStateDir } = await import(${JSON.stringify(built('../../lock.js').href)}); lockStateDir(${JSON.stringify(directory)});`;
    const other = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(other.status).not.toBe(0);
    expect(other.stderr).toContain(`in use by process ${process.pid}`);
    await replica.close();
    expect(spawnSync(process.execPath, ['--input-type=module', '-e', script]).status).toBe(0);
    replica = await open(directory);
  });

  it('dies with its worker', async () => {
    const other = mkdtempSync(join(tmpdir(), 'muster-replica-'));
    const died = Promise.withResolvers<Error>();
    const doomed = await open(other, { died: died.resolve });
    // A disk that is taken away under the log is an error that the engine may not survive.
    for (const file of readdirSync(join(other, 'database', 'log'))) truncateSync(join(other, 'database', 'log', file), 0);
    rmSync(join(other, 'database', 'log'), { recursive: true });
    const filling = (async () => {
      for (let n = 0; ; n += 1) await doomed.submit(addPet, { name: `p${n}`, config: { fill: 'x'.repeat(200_000) } }, by);
    })();
    await expect(filling).rejects.toMatchObject({ kind: 'unavailable' });
    expect((await died.promise).message).toMatch(/ENOENT/);
    rmSync(other, { recursive: true, force: true });
  });
});

describe('kill -9', () => {
  it('loses nothing that was acknowledged, and gives no id twice, whenever it comes', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'muster-kill-'));
    const file = join(directory, 'acknowledged');
    for (let round = 0; round < 6; round += 1) {
      const child = spawn(process.execPath, [fileURLToPath(built('./pets-child.js')), directory, `r${round}`, file], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), 40 + Math.random() * 300));
      const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
      expect(signal).toBe('SIGKILL');
    }
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    const acknowledged = new Map(lines.map((line) => line.split(' ')).map(([name, id]) => [name as string, Number(id)]));
    expect(acknowledged.size).toBeGreaterThan(100);
    expect(new Set(acknowledged.values()).size).toBe(acknowledged.size);
    const replica = await open(directory);
    const there = new Map(replica.reader.all<{ id: number; name: string }>('SELECT id, name FROM pets').map(({ id, name }) => [name, id]));
    expect([...acknowledged].filter(([name, id]) => there.get(name) !== id)).toEqual([]);
    expect(replica.reader.all('PRAGMA integrity_check')).toMatchObject([{ integrity_check: 'ok' }]);
    expect((await replica.history({ limit: 100_000 })).entries.filter((entry) => entry.command === 'pets.add')).toHaveLength(there.size);
    await replica.close();
    rmSync(directory, { recursive: true, force: true });
  }, 60_000);
});

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineFace } from './face.js';
import { addPet, Home, request } from './testing/fixture.js';

/** A database as it is, copied with its WAL while nobody has it open. */
const FILES = ['replica.db', 'replica.db-wal', 'replica.db-shm'];

describe('after damage', () => {
  let home: Home;
  let engine: EngineFace;
  beforeEach(async () => {
    home = new Home();
    engine = await home.open();
    await engine.ready();
    for (let n = 1; n <= 20; n += 1) await engine.submit(request(addPet, { name: `p${n}` }));
    await engine.close();
  });
  afterEach(async () => {
    await engine.close();
    home.remove();
  });

  const segment = (): string => join(home.directory, 'log', readdirSync(join(home.directory, 'log')).sort()[0] as string);
  const names = (): number => {
    const db = new DatabaseSync(home.replicaPath, { readOnly: true });
    const { n } = db.prepare('SELECT count(*) AS n FROM pets').get() as { n: number };
    db.close();
    return n;
  };
  const flipAt = (needle: string): void => {
    const bytes = readFileSync(segment());
    const at = bytes.indexOf(needle);
    expect(at).toBeGreaterThan(0);
    bytes[at] = (bytes[at] as number) ^ 1;
    writeFileSync(segment(), bytes);
  };

  it('neither votes nor acknowledges when a byte of its log was flipped, says so, and can still be read', async () => {
    flipAt('pets/p7"');
    const before = readFileSync(segment());
    engine = await home.open();
    await engine.ready();
    expect(engine.status()).toMatchObject({ role: 'follower', stopped: expect.stringContaining('damaged') as string });
    await expect(engine.submit(request(addPet, { name: 'no' }))).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(engine.barrier()).rejects.toMatchObject({ kind: 'unavailable' });
    expect(names()).toBe(20);
    expect(readFileSync(segment()).equals(before)).toBe(true);
  });

  it('calls a flipped byte in the last acknowledged entry damage too, once it was closed in order', async () => {
    flipAt('pets/p20"');
    engine = await home.open();
    expect(engine.status().stopped).toMatch(/damaged/);
  });

  it('does nothing when its log is gone and its replica is not', async () => {
    rmSync(join(home.directory, 'log'), { recursive: true });
    engine = await home.open();
    expect(engine.status().stopped).toMatch(/ahead of its own log/);
    await expect(engine.submit(request(addPet, { name: 'no' }))).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('applies again what a power loss took from the replica', async () => {
    const saved = FILES.map((file) => [file, exists(home.directory, file) ? readFileSync(join(home.directory, file)) : undefined] as const);
    engine = await home.open();
    await engine.ready();
    for (let n = 21; n <= 30; n += 1) await engine.submit(request(addPet, { name: `p${n}` }));
    await engine.close();
    for (const [file, bytes] of saved) {
      if (bytes) writeFileSync(join(home.directory, file), bytes);
      else rmSync(join(home.directory, file), { force: true });
    }
    engine = await home.open();
    await engine.ready();
    await engine.barrier();
    expect(names()).toBe(30);
    expect(engine.history({ limit: 100 }).rows).toHaveLength(30);
  });

  it('knows from its log who it is, whatever it is told', async () => {
    engine = await home.open({ identity: { cluster: 'other', member: 2, incarnation: 0 } });
    await engine.ready();
    expect(engine.status()).toMatchObject({ member: { id: 1, clusterId: 'test' }, role: 'leader' });
  });
});

const exists = (directory: string, file: string): boolean => readdirSync(directory).includes(file);

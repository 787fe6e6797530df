import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { surplus, survey } from '../../support/leftovers.js';
import { Server, until } from '../../support/server.js';

let server: Server;
let places: Record<'database' | 'images' | 'pool', string>;

/** A small file system of its own at each place that is going to be full. */
beforeAll(async () => {
  server = await Server.start();
  await server.terminate();
  places = { database: join(server.dir, 'database'), images: join(server.dir, 'images'), pool: mkdtempSync('/var/tmp/muster-pool-') };
  rmSync(places.database, { recursive: true });
  for (const [place, size] of [
    [places.database, '64m'],
    [places.images, '24m'],
    [places.pool, '24m'],
  ] as const) {
    mkdirSync(place, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=711`, 'muster-test', place]);
  }
  await server.boot();
  await server.api.change('POST', '/1.0/storage-pools', { name: 'default', driver: 'dir', config: { source: places.pool } });
  await server.api.change('PUT', '/1.0/profiles/default', { devices: { root: { type: 'disk', path: '/', pool: 'default' } } });
  await server.importBusybox();
  await server.ok(['launch', 'busybox', 'c1']);
}, 120_000);
afterAll(async () => {
  await server?.stop();
  if (places) execFileSync('umount', ['-l', places.pool]);
  if (places) rmSync(places.pool, { recursive: true });
}, 120_000);

/** Takes all that is left in a file system, but for some bytes. */
function fill(place: string, leaveBytes = 0): Disposable {
  const path = join(place, 'ballast');
  const file = openSync(path, 'w');
  const { bavail, bsize } = statfsSync(place);
  const block = Buffer.alloc(65_536, 1);
  try {
    for (let left = bavail * bsize - leaveBytes; left > 0; left -= block.length) writeSync(file, block, 0, Math.min(left, block.length));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  closeSync(file);
  return {
    [Symbol.dispose]: () => {
      const again = openSync(path, 'r+');
      ftruncateSync(again, 0);
      closeSync(again);
      rmSync(path);
    },
  };
}

const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it worked',
    (error: Error) => error.message,
  );
const clear = /space/i;

it('a full disk under a pool: a clear error, and all goes on when there is room again', async () => {
  const facts = await survey(server);
  {
    using _full = fill(places.pool, 300_000);
    const said = await failure(server.api.change('POST', '/1.0/instances', { name: 'c2', source: { type: 'image', alias: 'busybox' } }));
    const copy = await failure(server.api.change('POST', '/1.0/instances', { name: 'c3', source: { type: 'copy', source: 'c1' } }));
    const snapshot = await failure(server.api.change('POST', '/1.0/instances/c1/snapshots', { name: 's' }));
    const push = await server.api.raw('POST', '/1.0/instances/c1/files?path=/root/big', randomBytes(2 ** 20));
    console.log(`pool full: create: ${said}; copy: ${copy}; snapshot: ${snapshot}; push: ${push.status} ${push.text}`);
    for (const sentence of [said, copy, snapshot, push.text]) expect.soft(sentence).toMatch(clear);
    expect((await server.api.get<string[]>('/1.0/instances')).sort()).toEqual(['/1.0/instances/c1']);
    expect(surplus(facts, await survey(server))).toEqual({ missing: [], left: [] });
  }
  await server.api.change('POST', '/1.0/instances', { name: 'c2', source: { type: 'image', alias: 'busybox' } });
  await server.api.change('DELETE', '/1.0/instances/c2');
  expect(surplus(facts, await survey(server))).toEqual({ missing: [], left: [] });
});

it('a full disk under the image store: a clear error, nothing left, and an import when there is room again', async () => {
  const facts = await survey(server);
  const file = join(server.dir, 'client/big.tar');
  {
    writeFileSync(file, randomBytes(4 * 2 ** 20));
    using _full = fill(places.images, 1_000_000);
    const said = await failure(server.api.upload('/1.0/images', file));
    console.log(`images full: ${said}`);
    expect(said).toMatch(clear);
    expect(await server.ok(['exec', 'c1', '--', 'echo', 'on'])).toBe('on\n');
  }
  rmSync(file);
  expect(surplus(facts, await survey(server))).toEqual({ missing: [], left: [] });
  await server.ok(['publish', 'c1', '--force', '--alias', 'mine'], { timeoutMs: 50_000 });
  await server.ok(['image', 'delete', 'mine']);
});

it('a full disk under the database: reads go on, writes say so and go on when there is room again', { timeout: 120_000 }, async () => {
  const acknowledged: string[] = [];
  {
    using _full = fill(places.database);
    let said = '';
    for (let number = 0; number < 400 && said === ''; number++) {
      const name = `p${number}`;
      const done = await failure(server.api.change('POST', '/1.0/profiles', { name, config: { 'user.fill': randomBytes(20_000).toString('hex') } }));
      if (done === 'it worked') acknowledged.push(name);
      // The first that found no room may still be written when there is some.
      else if (!done.includes('not known yet')) said = done;
    }
    console.log(`database full after ${acknowledged.length} writes: ${said}`);
    expect.soft(said).toMatch(/space|full/i);
    expect(server.running, server.log()).toBe(true);
    expect(await server.api.get<string[]>('/1.0/instances')).toEqual(['/1.0/instances/c1']);
    expect(await server.ok(['exec', 'c1', '--', 'echo', 'on'])).toBe('on\n');
  }
  await until('writes go on', async () => (await failure(server.api.change('POST', '/1.0/profiles', { name: 'again' }))) === 'it worked', 20_000);
  const there = new Set(await server.api.get<string[]>('/1.0/profiles'));
  expect(acknowledged.filter((name) => !there.has(`/1.0/profiles/${name}`))).toEqual([]);
  await server.crash();
  await server.boot();
  const after = new Set(await server.api.get<string[]>('/1.0/profiles'));
  expect([...there].filter((url) => !after.has(url))).toEqual([]);
});

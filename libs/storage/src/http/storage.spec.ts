import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Operation } from '#api-contract';
import type { Operations } from '#operations/host';
import { PROJECT_USAGE, projectsControllers } from '#projects/http';
import { profilesState } from '#profiles/state';
import { StorageAgent } from '#storage/host';
import { storageState } from '#storage/state';
import { TestGateway, type TestReply } from '#testkit/gateway';
import { storageControllers } from './index.js';

let gateway: TestGateway;
let agent: StorageAgent;
let operations: Operations;
const asRoot = process.getuid?.() === 0;

beforeAll(async () => {
  gateway = await TestGateway.open({
    controllers: [...storageControllers, ...projectsControllers],
    providers: [{ provide: PROJECT_USAGE, useValue: { resources: () => ({}) } }],
    wings: [profilesState, storageState],
    async hosts(context, running) {
      operations = running;
      agent = new StorageAgent({ context, operations, warnings: { raise: () => {}, resolve: () => {} } });
      await agent.start();
    },
  });
  expect((await call('POST', '/1.0/storage-pools', { name: 'local', driver: 'dir', config: { 'volume.snapshots.expiry': '1d' } })).status).toBe(201);
});
afterAll(async () => {
  await agent.stop({ unmount: true });
  await gateway[Symbol.asyncDispose]();
});

const call = (method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<TestReply> =>
  gateway.call(method, path, { body, headers });
const volumes = '/1.0/storage-pools/local/volumes';

/** Waits for the operation of a 202. */
async function done(reply: TestReply): Promise<Operation> {
  expect(reply.status, reply.text).toBe(202);
  return operations.wait((reply.body.metadata as Operation).id, 15_000);
}
const dataOf = (pool: string, volume: string): string => `${gateway.context.server.stateDir}/storage-pools/${pool}/custom/default_${volume}`;

describe('pools', () => {
  it('are made, shown with their source, and answer as LXD does when there is one already', async () => {
    const { status, body, headers } = await call('GET', '/1.0/storage-pools/local');
    expect(status).toBe(200);
    const source = `${gateway.context.server.stateDir}/storage-pools/local`;
    expect(body.metadata).toMatchObject({ name: 'local', driver: 'dir', status: 'Created', locations: ['none'], config: { source } });
    expect(headers.etag).toMatch(/^"[0-9a-f]{64}"$/);
    const again = await call('POST', '/1.0/storage-pools', { name: 'local', driver: 'dir' });
    expect([again.status, again.body.error]).toEqual([409, 'The storage pool already exists: The record already exists']);
    const missing = await call('GET', '/1.0/storage-pools/nope');
    expect([missing.status, missing.body.error]).toEqual([404, 'Storage pool not found']);
  });

  it('tell their size, and are changed by who has the newest ETag', async () => {
    expect((await call('GET', '/1.0/storage-pools/local/resources')).body.metadata).toMatchObject({ space: { total: expect.any(Number) } });
    const tag = (await call('GET', '/1.0/storage-pools/local')).headers.etag!;
    const patch = { config: { 'user.x': 'y' } };
    expect((await call('PATCH', '/1.0/storage-pools/local', patch, { 'if-match': tag })).status).toBe(200);
    expect((await call('PATCH', '/1.0/storage-pools/local', patch, { 'if-match': tag })).status).toBe(412);
    expect((await call('PATCH', '/1.0/storage-pools/local', { config: { source: '/tmp' } })).status).toBe(400);
  });

  it('leave nothing behind when they cannot be made', async () => {
    const reply = await call('POST', '/1.0/storage-pools', { name: 'bad', driver: 'dir', config: { source: '/no/such/place' } });
    expect([reply.status, reply.body.error]).toEqual([400, "Source path '/no/such/place' doesn't exist"]);
    expect((await call('GET', '/1.0/storage-pools/bad')).status).toBe(404);
    expect(existsSync(`${gateway.context.server.stateDir}/storage-pools/bad`)).toBe(false);
  });

  it('say on a dry-run what would be, and do nothing', async () => {
    const reply = await call('POST', '/1.0/storage-pools?dry-run=1', { name: 'would', driver: 'dir' });
    expect(reply.headers['x-muster-dry-run']).toBe('1');
    expect((await call('GET', '/1.0/storage-pools/would')).status).toBe(404);
  });
});

describe('custom volumes', () => {
  it('are made, listed, read, changed and deleted', async () => {
    expect((await call('POST', `${volumes}/custom`, { name: 'v1' })).status).toBe(200);
    const again = await call('POST', `${volumes}/custom`, { name: 'v1' });
    expect([again.status, again.body.error]).toEqual([409, 'Volume by that name already exists']);
    expect((await call('GET', `${volumes}/custom`)).body.metadata).toEqual([`${volumes}/custom/v1`]);
    expect((await call('GET', `${volumes}/custom/v1`)).body.metadata).toMatchObject({
      name: 'v1',
      type: 'custom',
      config: { 'snapshots.expiry': '1d' },
      content_type: 'filesystem',
      location: 'none',
      project: 'default',
      used_by: [],
    });
    expect(existsSync(dataOf('local', 'v1'))).toBe(true);
    expect((await call('PUT', `${volumes}/custom/v1`, { description: 'mine', config: { 'user.a': '1' } })).status).toBe(200);
    expect((await call('PATCH', `${volumes}/custom/v1`, { config: { 'user.b': '2' } })).status).toBe(200);
    expect((await call('GET', `${volumes}/custom/v1`)).body.metadata).toMatchObject({
      description: 'mine',
      config: { 'user.a': '1', 'user.b': '2' },
    });
    expect((await call('PATCH', `${volumes}/custom/v1`, { config: { 'zfs.x': '2' } })).body.error).toBe('Invalid option "zfs.x"');
    const inUse = await call('DELETE', '/1.0/storage-pools/local');
    expect([inUse.status, inUse.body.error]).toEqual([400, 'The storage pool is currently in use']);
    expect((await call('DELETE', `${volumes}/custom/v1`)).status).toBe(200);
    const gone = await call('GET', `${volumes}/custom/v1`);
    expect([gone.status, gone.body.error]).toEqual([404, 'Storage pool volume not found']);
    expect(existsSync(dataOf('local', 'v1'))).toBe(false);
  });

  it('refuse names that are none', async () => {
    for (const name of ['', '..', 'a/b', 'a b', 'x'.repeat(300)]) expect((await call('POST', `${volumes}/custom`, { name })).status).toBe(400);
  });

  it('have snapshots: numbered, restored, renamed, with an expiry, deleted', async () => {
    await call('POST', `${volumes}/custom`, { name: 'snapped' });
    const file = `${dataOf('local', 'snapped')}/file`;
    writeFileSync(file, 'before');
    expect((await done(await call('POST', `${volumes}/custom/snapped/snapshots`, {}))).err).toBe('');
    writeFileSync(file, 'after');
    expect((await done(await call('POST', `${volumes}/custom/snapped/snapshots`, { name: 'mine', expires_at: '2030-01-01T00:00:00Z' }))).err).toBe(
      '',
    );
    expect((await call('GET', `${volumes}/custom/snapped/snapshots`)).body.metadata).toEqual([
      `${volumes}/custom/snapped/snapshots/snap0`,
      `${volumes}/custom/snapped/snapshots/mine`,
    ]);
    const one = (await call('GET', `${volumes}/custom/snapped/snapshots/mine`)).body.metadata;
    expect(one).toMatchObject({ name: 'mine', expires_at: '2030-01-01T00:00:00.000Z', content_type: 'filesystem' });
    expect((await call('PUT', `${volumes}/custom/snapped`, { restore: 'snap0' })).status).toBe(200);
    expect(readFileSync(file, 'utf8')).toBe('before');
    expect((await call('GET', `${volumes}/custom/snapped`)).body.metadata).toMatchObject({ config: { 'snapshots.expiry': '1d' } });
    expect((await done(await call('POST', `${volumes}/custom/snapped/snapshots/mine`, { name: 'yours' }))).err).toBe('');
    expect((await call('PATCH', `${volumes}/custom/snapped/snapshots/yours`, { description: 'd' })).status).toBe(200);
    expect((await call('GET', `${volumes}/custom/snapped/snapshots/yours`)).body.metadata).toMatchObject({ description: 'd' });
    expect((await done(await call('DELETE', `${volumes}/custom/snapped/snapshots/yours`))).err).toBe('');
    expect((await call('GET', `${volumes}?recursion=1`)).body.metadata).toMatchObject([{ name: 'snapped' }, { name: 'snapped/snap0' }]);
    await call('DELETE', `${volumes}/custom/snapped`);
  });

  it('are copied with their snapshots, renamed, and moved to another pool with those who use them', async () => {
    await call('POST', '/1.0/storage-pools', { name: 'second', driver: asRoot ? 'btrfs' : 'dir', ...(asRoot ? { config: { size: '256MiB' } } : {}) });
    await call('POST', `${volumes}/custom`, { name: 'source', description: 'kept' });
    const file = (pool: string, name: string): string => readFileSync(`${dataOf(pool, name)}/file`, 'utf8');
    writeFileSync(`${dataOf('local', 'source')}/file`, 'one');
    await done(await call('POST', `${volumes}/custom/source/snapshots`, { name: 's1' }));
    writeFileSync(`${dataOf('local', 'source')}/file`, 'two');
    const copied = await done(await call('POST', `${volumes}/custom`, { name: 'copy', source: { type: 'copy', name: 'source', pool: 'local' } }));
    expect(copied.err).toBe('');
    expect((await call('GET', `${volumes}/custom/copy`)).body.metadata).toMatchObject({ description: 'kept' });
    expect((await call('GET', `${volumes}/custom/copy/snapshots`)).body.metadata).toHaveLength(1);
    const renamed = await call('POST', `${volumes}/custom/copy`, { name: 'renamed' });
    expect([renamed.status, renamed.headers.location]).toEqual([201, `${volumes}/custom/renamed`]);
    expect(file('local', 'renamed')).toBe('two');
    expect((await done(await call('POST', `${volumes}/custom/renamed`, { name: 'moved', pool: 'second' }))).err).toBe('');
    expect(file('second', 'moved')).toBe('two');
    expect(existsSync(dataOf('local', 'renamed'))).toBe(false);
    const there = '/1.0/storage-pools/second/volumes/custom/moved';
    expect((await call('GET', `${there}/snapshots`)).body.metadata).toEqual([`${there}/snapshots/s1`]);
    expect((await call('PUT', there, { restore: 's1' })).status).toBe(200);
    expect(file('second', 'moved')).toBe('one');
    writeFileSync(`${dataOf('local', 'source')}/file`, 'three');
    const refreshed = await call('POST', '/1.0/storage-pools/second/volumes/custom', {
      name: 'moved',
      source: { type: 'copy', name: 'source', pool: 'local', refresh: true },
    });
    expect((await done(refreshed)).err).toBe('');
    expect(file('second', 'moved')).toBe('three');
    expect((await call('DELETE', there)).status).toBe(200);
    expect((await call('DELETE', '/1.0/storage-pools/second')).status).toBe(200);
    await call('DELETE', `${volumes}/custom/source`);
  });

  it('are filtered, and belong to projects that have their own', async () => {
    await call('POST', '/1.0/projects', { name: 'p' });
    await call('POST', `${volumes}/custom?project=p`, { name: 'theirs' });
    await call('POST', `${volumes}/custom`, { name: 'ours' });
    expect((await call('GET', `${volumes}?project=p`)).body.metadata).toEqual([`${volumes}/custom/theirs?project=p`]);
    expect((await call('GET', `${volumes}?all-projects=true`)).body.metadata).toHaveLength(2);
    expect((await call('GET', `${volumes}?filter=name+eq+ours`)).body.metadata).toEqual([`${volumes}/custom/ours`]);
    expect((await call('DELETE', `${volumes}/custom/theirs?project=p`)).status).toBe(200);
    expect((await call('DELETE', `${volumes}/custom/ours`)).status).toBe(200);
  });

  it.skipIf(!asRoot)('have a limit that holds, on btrfs, and tell what they use', async () => {
    await call('POST', '/1.0/storage-pools', { name: 'limited', driver: 'btrfs', config: { size: '512MiB' } });
    const pool = '/1.0/storage-pools/limited/volumes';
    expect((await call('POST', `${pool}/custom`, { name: 'small', config: { size: '10MiB' } })).status).toBe(200);
    expect(() => writeFileSync(`${dataOf('limited', 'small')}/big`, Buffer.alloc(30 * 1024 * 1024))).toThrow();
    expect((await call('GET', `${pool}/custom/small/state`)).body.metadata).toMatchObject({ usage: { total: 10 * 1024 * 1024 } });
    expect((await call('PATCH', `${pool}/custom/small`, { config: { size: '100MiB' } })).status).toBe(200);
    writeFileSync(`${dataOf('limited', 'small')}/big`, Buffer.alloc(30 * 1024 * 1024));
    await call('DELETE', `${pool}/custom/small`);
    expect((await call('DELETE', '/1.0/storage-pools/limited')).status).toBe(200);
    expect(existsSync(`${gateway.context.server.stateDir}/disks/limited.img`)).toBe(false);
    const state = await call('GET', `${volumes}/custom/nope/state`);
    expect(state.status).toBe(404);
  });
});

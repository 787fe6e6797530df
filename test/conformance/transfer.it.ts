import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Instance } from '#api-contract';
import { covers } from '../support/covers.js';
import { Server } from '../support/server.js';

let server: Server;
const file = (name: string): string => join(server.dir, 'client', name);
const instance = (name: string, project = 'default'): Promise<Instance> => server.api.get(`/1.0/instances/${name}?project=${project}`);
const names = async (project = 'default'): Promise<string[]> =>
  (await server.ok(['list', '--project', project, '-c', 'n', '--format', 'csv'])).split('\n').filter(Boolean).sort();
const snapshotsOf = async (name: string): Promise<string[]> =>
  (await server.api.get<string[]>(`/1.0/instances/${name}/snapshots`)).map((url) => url.split('/').at(-1)!);

/** What a container has in its root, by the API: it need not run. */
const read = async (name: string, path = 'root/mark', project = 'default'): Promise<string> =>
  server.ok(['file', 'pull', '--project', project, `${name}/${path}`, '-']);
/** What the volume of an instance, and that of its first snapshot, were told. */
const told = async (name: string, pool = 'default'): Promise<string[]> =>
  Promise.all(
    [name, `${name}/snap0`].map(async (one) => (await server.ok(['storage', 'volume', 'get', pool, `container/${one}`, 'user.foo'])).trim()),
  );
const write = (name: string, text: string, path = 'root/mark'): Promise<string> =>
  server.ok(['file', 'push', '-', `${name}/${path}`, '--create-dirs'], { input: text });

beforeAll(async () => {
  server = await Server.start();
  await server.furnish({ network: false });
  await server.api.change('POST', '/1.0/storage-pools', { name: 'other', driver: 'dir', config: {} });
  await server.api.change('POST', '/1.0/storage-pools', { name: 'fast', driver: 'btrfs', config: { size: '1GiB' } });
  await server.ok(['init', 'busybox', 'c1', '-c', 'user.own=kept']);
  await server.ok(['storage', 'volume', 'set', 'default', 'container/c1', 'user.foo=old']);
  await write('c1', 'one');
  await server.ok(['snapshot', 'c1', 'snap0']);
  await write('c1', 'two');
  await server.ok(['snapshot', 'c1', 'snap1']);
  await write('c1', 'three');
  await server.ok(['storage', 'volume', 'set', 'default', 'container/c1', 'user.foo=new']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('lxc copy', () => {
  it('takes the snapshots along, and leaves behind what is volatile', async () => {
    await server.ok(['copy', 'c1', 'c2']);
    expect(await snapshotsOf('c2')).toEqual(['snap0', 'snap1']);
    expect(await read('c2')).toBe('three');
    const [from, to] = [await instance('c1'), await instance('c2')];
    expect(to.config['user.own']).toBe('kept');
    expect(to.config['volatile.base_image']).toBe(from.config['volatile.base_image']);
    expect(to.config['volatile.uuid']).not.toBe(from.config['volatile.uuid']);
    expect(await told('c2')).toEqual(['new', 'old']);
    await server.ok(['restore', 'c2', 'snap0']);
    expect([await read('c2'), await read('c1')]).toEqual(['one', 'three']);
    await server.ok(['start', 'c2']);
    expect(await server.ok(['exec', 'c2', '--', 'cat', '/root/mark'])).toBe('one');
    await server.ok(['delete', '-f', 'c2']);
  });

  it('copies the instance only, or from a snapshot', async () => {
    await server.ok(['copy', 'c1', 'c2', '--instance-only']);
    expect(await snapshotsOf('c2')).toEqual([]);
    await server.ok(['copy', 'c1/snap0', 'c3']);
    expect([await read('c3'), (await snapshotsOf('c3')).length]).toEqual(['one', 0]);
    await server.ok(['delete', 'c2', 'c3']);
  });

  it('copies to another pool, and while it runs', async () => {
    await server.ok(['copy', 'c1', 'c2', '-s', 'fast']);
    expect((await instance('c2')).expanded_devices['root']!['pool']).toBe('fast');
    expect(await snapshotsOf('c2')).toEqual(['snap0', 'snap1']);
    await server.ok(['start', 'c2']);
    for (const [target, pool] of [
      ['c3', 'fast'],
      ['c4', 'other'],
    ] as const) {
      await server.ok(['copy', 'c2', target, '-s', pool]);
      await server.ok(['start', target]);
      expect(await server.ok(['exec', target, '--', 'cat', '/root/mark'])).toBe('three');
    }
    await server.ok(['delete', '-f', 'c2', 'c3', 'c4']);
  });

  it('copies what runs as it is, when that is asked for', async () => {
    covers('instance_allow_inconsistent_copy');
    await server.ok(['start', 'c1']);
    await server.ok(['copy', 'c1', 'c2', '--allow-inconsistent']);
    expect(await read('c2')).toBe('three');
    await server.ok(['stop', '-f', 'c1']);
    await server.ok(['delete', 'c2']);
  });

  it('refreshes a copy: files, and those snapshots that it lacks', async () => {
    covers('container_incremental_copy');
    await server.ok(['copy', 'c1', 'c2']);
    await server.ok(['delete', 'c2/snap0']);
    await server.ok(['snapshot', 'c2', 'mine']);
    await write('c2', 'changed');
    await write('c2', 'x', 'root/extra');
    await server.ok(['copy', 'c1', 'c2', '--refresh']);
    expect((await snapshotsOf('c2')).sort()).toEqual(['snap0', 'snap1']);
    expect(await read('c2')).toBe('three');
    expect((await server.lxc(['file', 'pull', 'c2/root/extra', '-'])).code).not.toBe(0);
    await server.ok(['restore', 'c2', 'snap0']);
    expect(await read('c2')).toBe('one');
    await server.ok(['delete', 'c2']);
  });
});

describe('lxc copy and move, between pools and projects', () => {
  const profile = { config: {}, description: '', devices: { root: { type: 'disk', path: '/', pool: 'default' } } };

  beforeAll(async () => {
    await server.ok(['project', 'create', 'p', '-c', 'features.images=false', '-c', 'features.profiles=true']);
    await server.api.change('PUT', '/1.0/profiles/default?project=p', profile);
  });

  it('copies into another project', async () => {
    covers('container_copy_project');
    await server.ok(['copy', 'c1', 'c2', '--target-project', 'p']);
    expect(await names('p')).toEqual(['c2']);
    expect(await read('c2', 'root/mark', 'p')).toBe('three');
    expect((await instance('c2', 'p')).project).toBe('p');
  });

  it('moves between pools, with snapshots, and all that it was', async () => {
    covers('instance_pool_move', 'container_local_cross_pool_handling');
    await server.ok(['copy', 'c1', 'm1']);
    const before = await instance('m1');
    await server.ok(['move', 'm1', '-s', 'fast']);
    const after = await instance('m1');
    expect(after.expanded_devices['root']!['pool']).toBe('fast');
    expect(after.config['volatile.uuid']).toBe(before.config['volatile.uuid']);
    expect(after.created_at).toBe(before.created_at);
    expect(await snapshotsOf('m1')).toEqual(['snap0', 'snap1']);
    expect(existsSync(join(server.dir, 'storage-pools/default/containers/m1'))).toBe(false);
    await server.ok(['move', 'm1', 'm2', '-s', 'other']);
    await server.ok(['restore', 'm2', 'snap0']);
    expect(await read('m2')).toBe('one');
    await server.ok(['start', 'm2']);
    expect((await server.lxc(['move', 'm2', '-s', 'fast'])).code).not.toBe(0);
    await server.ok(['delete', '-f', 'm2']);
    expect(readdirSync(join(server.dir, 'storage-pools/fast/containers'))).toEqual([]);
  });

  it('moves between projects', async () => {
    covers('instance_project_move');
    await server.ok(['copy', 'c1', 'm3']);
    await server.ok(['move', 'm3', '--target-project', 'p']);
    expect([await names(), await names('p')]).toEqual([['c1'], ['c2', 'm3']]);
    expect(await read('m3', 'root/mark', 'p')).toBe('three');
    await server.ok(['move', 'm3', 'm4', '--project', 'p', '--target-project', 'default']);
    expect(await snapshotsOf('m4')).toEqual(['snap0', 'snap1']);
    await server.ok(['delete', 'm4']);
    await server.ok(['delete', 'c2', '--project', 'p']);
  });
});

describe('lxc export and import', () => {
  it('gives a tarball of which the instance is made again', async () => {
    covers('container_backup');
    await server.ok(['export', 'c1', file('c1.tar.gz')]);
    expect(readFileSync(file('c1.tar.gz')).subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
    expect(await server.api.get('/1.0/instances/c1/backups')).toEqual([]);
    await server.ok(['rename', 'c1', 'gone']);
    await server.ok(['import', file('c1.tar.gz')]);
    expect(await snapshotsOf('c1')).toEqual(['snap0', 'snap1']);
    expect(await read('c1')).toBe('three');
    expect((await instance('c1')).config['volatile.uuid']).toBe((await instance('gone')).config['volatile.uuid']);
    await server.ok(['start', 'c1']);
    expect(await server.ok(['exec', 'c1', '--', 'cat', '/root/mark'])).toBe('three');
    await server.ok(['restore', 'c1', 'snap0']);
    expect(await server.ok(['exec', 'c1', '--', 'cat', '/root/mark'])).toBe('one');
    await server.ok(['delete', '-f', 'c1']);
    await server.ok(['rename', 'gone', 'c1']);
  });

  it('imports under another name and into another pool, once', async () => {
    covers('backup_override_name', 'container_backup_override_pool');
    await server.ok(['import', file('c1.tar.gz'), 'i1', '-s', 'fast']);
    expect(await told('i1', 'fast')).toEqual(['new', 'old']);
    expect((await instance('i1')).expanded_devices['root']!['pool']).toBe('fast');
    await server.ok(['restore', 'i1', 'snap1']);
    expect(await read('i1')).toBe('two');
    expect((await server.lxc(['import', file('c1.tar.gz'), 'i1'])).code).not.toBe(0);
    expect((await server.lxc(['import', file('c1.tar.gz'), 'i2', '-s', 'nowhere'])).stderr).toContain('Storage pool not found');
    await server.ok(['delete', 'i1']);
    expect(readdirSync(join(server.dir, 'backups/data'))).toEqual([]);
  });

  it('compresses as it is told, and leaves the snapshots out', async () => {
    covers('backup_compression_algorithm', 'backup_compression');
    const magics = { none: '', zstd: '28b52ffd', xz: 'fd377a58', bzip2: '425a68', 'gzip -1': '1f8b' };
    for (const [algorithm, magic] of Object.entries(magics)) {
      await server.ok(['export', 'c1', file('c.tar'), '--instance-only', '--compression', algorithm]);
      expect(readFileSync(file('c.tar')).toString('hex').startsWith(magic)).toBe(true);
      await server.ok(['import', file('c.tar'), 'i1']);
      expect([await read('i1'), await snapshotsOf('i1')]).toEqual(['three', []]);
      await server.ok(['delete', 'i1']);
    }
    await server.api.change('PATCH', '/1.0', { config: { 'backups.compression_algorithm': 'xz' } });
    await server.ok(['export', 'c1', file('c.tar'), '--instance-only']);
    expect(readFileSync(file('c.tar')).toString('hex').startsWith(magics.xz)).toBe(true);
    await server.api.change('PATCH', '/1.0', { config: { 'backups.compression_algorithm': '' } });
    for (const algorithm of ['sh', 'gzip -d', 'gzip; id'])
      expect((await server.lxc(['export', 'c1', file('c.tar'), '--compression', algorithm])).code).not.toBe(0);
  });

  it('keeps backups: lists, renames, expires, deletes; they follow the instance', async () => {
    const at = '/1.0/instances/c1/backups';
    await server.api.change('POST', at, { name: '', instance_only: true });
    await server.api.change('POST', at, { name: 'mine', expires_at: '2030-01-01T00:00:00Z', compression_algorithm: 'none' });
    expect(await server.api.get(at)).toEqual([`${at}/backup0`, `${at}/mine`]);
    expect(await server.api.get(`${at}/mine`)).toMatchObject({
      name: 'mine',
      expires_at: '2030-01-01T00:00:00Z',
      instance_only: false,
      container_only: false,
      optimized_storage: false,
    });
    expect(statSync(join(server.dir, 'backups/instances/c1/mine')).size).toBeGreaterThan(1000);
    await expect(server.api.change('POST', at, { name: 'mine' })).rejects.toThrow('already exists');
    await expect(server.api.change('POST', at, { name: 'a/b' })).rejects.toThrow('Backup names may not contain slashes');
    await server.api.change('POST', `${at}/mine`, { name: 'ours' });
    await server.ok(['rename', 'c1', 'c9']);
    expect(await server.api.get('/1.0/instances/c9/backups')).toEqual(['/1.0/instances/c9/backups/backup0', '/1.0/instances/c9/backups/ours']);
    expect(readdirSync(join(server.dir, 'backups/instances/c9'))).toEqual(['backup0', 'ours']);
    await server.ok(['rename', 'c9', 'c1']);
    await server.api.change('DELETE', `${at}/backup0`);
    await server.api.change('DELETE', `${at}/ours`);
    expect(existsSync(join(server.dir, 'backups/instances/c1'))).toBe(false);
    expect(await server.api.raw('GET', `${at}/ours`)).toMatchObject({ status: 404 });
  });

  it('sends what btrfs has in its own format, and takes it back', async () => {
    await server.ok(['copy', 'c1', 'b1', '-s', 'fast']);
    await server.ok(['export', 'b1', file('b1.tar.gz'), '--optimized-storage']);
    await server.ok(['import', file('b1.tar.gz'), 'b2']);
    expect([await read('b2'), await snapshotsOf('b2')]).toEqual(['three', ['snap0', 'snap1']]);
    await server.ok(['restore', 'b2', 'snap0']);
    expect(await read('b2')).toBe('one');
    await server.ok(['start', 'b2']);
    expect(await server.ok(['exec', 'b2', '--', 'cat', '/root/mark'])).toBe('one');
    const { stderr } = await server.lxc(['import', file('b1.tar.gz'), 'b3', '-s', 'default']);
    expect(stderr).toContain('Optimized backup storage driver "btrfs" differs from the target storage pool driver "dir"');
    await server.ok(['delete', '-f', 'b1', 'b2']);
    expect(readdirSync(join(server.dir, 'storage-pools/fast/containers'))).toEqual([]);
  });
});

describe('lxc storage volume export and import', () => {
  it('gives a tarball of which the volume is made again', async () => {
    covers('custom_volume_backup');
    for (const pool of ['default', 'fast']) {
      await server.ok(['storage', 'volume', 'create', pool, 'v1', 'user.x=y']);
      await server.ok(['config', 'device', 'add', 'c1', 'v1', 'disk', `pool=${pool}`, 'source=v1', 'path=/v']);
      await server.ok(['start', 'c1']);
      await server.ok(['exec', 'c1', '--', 'sh', '-c', 'echo old > /v/f']);
      await server.ok(['storage', 'volume', 'snapshot', pool, 'v1', 's0']);
      await server.ok(['exec', 'c1', '--', 'sh', '-c', 'echo new > /v/f']);
      for (const flags of pool === 'fast' ? [[], ['--optimized-storage']] : [[]]) {
        await server.ok(['storage', 'volume', 'export', pool, 'v1', file('v1.tar.gz'), ...flags]);
        await server.ok(['storage', 'volume', 'import', pool, file('v1.tar.gz'), 'v2']);
        const volume = await server.api.get(`/1.0/storage-pools/${pool}/volumes/custom/v2`);
        expect(volume).toMatchObject({ name: 'v2', config: { 'user.x': 'y' } });
        const at = join(server.dir, 'storage-pools', pool);
        expect(readFileSync(join(at, 'custom/default_v2/f'), 'utf8')).toBe('new\n');
        expect(readFileSync(join(at, 'custom-snapshots/default_v2/s0/f'), 'utf8')).toBe('old\n');
        expect((await server.lxc(['storage', 'volume', 'import', pool, file('v1.tar.gz'), 'v2'])).code).not.toBe(0);
        await server.ok(['storage', 'volume', 'delete', pool, 'v2']);
      }
      await server.ok(['stop', '-f', 'c1']);
      await server.ok(['config', 'device', 'remove', 'c1', 'v1']);
      const backups = `/1.0/storage-pools/${pool}/volumes/custom/v1/backups`;
      await server.api.change('POST', backups, { name: 'vb0' });
      expect(await server.api.get(backups)).toEqual([`${backups}/vb0`]);
      await server.ok(['storage', 'volume', 'rename', pool, 'v1', 'v9']);
      expect(readdirSync(join(server.dir, `backups/custom/${pool}/default_v9`))).toEqual(['vb0']);
      await server.ok(['storage', 'volume', 'delete', pool, 'v9']);
      expect(existsSync(join(server.dir, `backups/custom/${pool}`))).toBe(false);
    }
  });
});

describe('lxc storage volume copy and move', () => {
  it('goes from pool to pool, with snapshots or without', async () => {
    covers('storage_api_local_volume_handling');
    const has = async (pool: string, name: string): Promise<boolean> => (await server.lxc(['storage', 'volume', 'show', pool, name])).code === 0;
    await server.ok(['storage', 'volume', 'create', 'default', 'v1']);
    await server.ok(['storage', 'volume', 'snapshot', 'default', 'v1', 's0']);
    await server.ok(['storage', 'volume', 'copy', 'default/v1', 'fast/v2']);
    await server.ok(['storage', 'volume', 'copy', 'default/v1', 'fast/v3', '--volume-only']);
    expect([await has('fast', 'v2/s0'), await has('fast', 'v3/s0')]).toEqual([true, false]);
    await server.ok(['storage', 'volume', 'move', 'fast/v2', 'other/v4']);
    expect([await has('fast', 'v2'), await has('other', 'v4/s0')]).toEqual([false, true]);
    for (const [pool, name] of [
      ['default', 'v1'],
      ['fast', 'v3'],
      ['other', 'v4'],
    ] as const)
      await server.ok(['storage', 'volume', 'delete', pool, name]);
  });
});

describe('lxc publish', () => {
  it('makes an image of an instance, and of a snapshot', async () => {
    covers('image_compression_algorithm');
    await server.ok(['publish', 'c1', '--alias', 'mine', '--compression', 'zstd', 'os=mine', '--public']);
    await server.ok(['publish', 'c1/snap0', '--alias', 'past']);
    for (const [alias, text] of [
      ['mine', 'three'],
      ['past', 'one'],
    ] as const) {
      await server.ok(['launch', alias, 'born']);
      expect(await server.ok(['exec', 'born', '--', 'cat', '/root/mark'])).toBe(text);
      await server.ok(['delete', '-f', 'born']);
    }
    const { target } = await server.api.get<{ target: string }>('/1.0/images/aliases/mine');
    expect(await server.api.get(`/1.0/images/${target}`)).toMatchObject({ public: true, type: 'container', properties: { os: 'mine' } });
    expect(readdirSync(join(server.dir, 'backups/data'))).toEqual([]);
  });
});
